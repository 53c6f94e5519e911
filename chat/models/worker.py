"""The processes that run chats: what they can take, and where they are.

A row is made when a worker starts and deleted when it stops. It says nothing about life and death: that is the lock
that the process holds (`chatworker/presence.py`); rows of dead workers are cleared away by the reaper.
"""

from django.db import models
from django.db.models.functions import Now


class WorkerProcess(models.Model):
    worker_id = models.UUIDField(primary_key=True, editable=False)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    slots = models.PositiveIntegerField(help_text="Chats that it can run at the same time.")
    started_at = models.DateTimeField(db_default=Now())
    draining_since = models.DateTimeField(null=True, help_text="Told to stop: takes no more chats.")

    class Meta:
        verbose_name_plural = "worker processes"

    def __str__(self) -> str:
        return f"worker {self.worker_id} ({self.host}, process {self.pid})"
