"""Background tasks: how the last run of each went, and what the code last wrote into beat's schedule for it."""

from django.db import models


class TaskRun(models.Model):
    """The last run of a task that takes its time. Its ticks of every second are in Redis (`chat/task_runs.py`)."""

    class Outcome(models.TextChoices):
        RUNNING = "running", "running, or killed"
        DONE = "done"
        FAILED = "failed"

    task = models.CharField(primary_key=True, max_length=100, help_text="As in beat's schedule.")
    outcome = models.CharField(max_length=10, choices=Outcome)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    did = models.JSONField(default=dict, help_text="What the last run did, in numbers.")
    totals = models.JSONField(default=dict, help_text="What all runs together did.")
    runs = models.PositiveBigIntegerField(default=0, help_text="How many runs have begun.")
    error = models.TextField(blank=True, help_text="Of the last run, if it failed.")

    def __str__(self) -> str:
        return f"last run of {self.task}"


class ScheduleDefault(models.Model):
    """An entry of beat's schedule as the code last wrote it. Where the entry differs, an operator has changed it."""

    name = models.CharField(primary_key=True, max_length=100)
    written = models.JSONField()

    def __str__(self) -> str:
        return f"default of the beat entry {self.name}"
