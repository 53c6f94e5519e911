"""Beat and the maintenance worker, seen at work: ticks that somebody receives, or that pile up.

Beat writes `last_run_at` now and then only (`celery.beat.Scheduler.sync_every`), which says too little. How many tasks
the workers have received says enough: two looks a little apart tell whether beat ticks. Where no worker receives them,
the queue grows.
"""

from collections.abc import Iterator

from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from chat.doctor.finding import Finding, ok, problem, warning
from chat.doctor.site import Look, Site
from chat.explain.situation import seconds

QUEUE = "maintenance"
WATCHED_FOR, WATCHED_FOR_AT_MOST = 5.0, 15.0
"""Seconds without a tick after which beat counts as dead; its quickest entries are due every second."""
LOOK_EVERY = 0.3
BACKLOG = 100
"""Ticks that wait: more than a worker that keeps up ever has."""
START_WORKER = "Start one: celery -A config worker -Q maintenance"
START_BEAT = "Start it: celery -A config beat"


def maintenance_worker(site: Site) -> Iterator[Finding]:
    look = site.first_look
    names, waiting = look.consuming(QUEUE), look.backlog[QUEUE]
    figures = {"workers": names, "backlog": waiting}
    if not names:
        says = f'No worker answers that consumes "{QUEUE}"; {waiting} ticks wait. Deadlines of clients pass unnoticed.'
        yield problem(says, f"{START_WORKER}, or see what keeps it busy.", **figures)
    elif waiting > BACKLOG:
        says = f"{waiting} ticks wait: {', '.join(names)} does not keep up."
        yield warning(says, "Start another one, or see its log for what is slow.", **figures)
    else:
        yield ok(f"{', '.join(names)} answers; {waiting or 'nothing'} waits in its queue.", **figures)


def beat(site: Site) -> Iterator[Finding]:
    entries = PeriodicTask.objects.filter(enabled=True, task__startswith="chatworker.").select_related("interval")
    if not entries:
        yield problem("It has nothing to do: no entry of ours is enabled.", "See the beat schedule, below.")
        return
    quickest = min((one.interval.schedule.run_every.total_seconds() for one in entries if one.interval), default=0.0)
    ticks, lasted = _watch(site, within=min(max(WATCHED_FOR, 2 * quickest), WATCHED_FOR_AT_MOST))
    age = min(
        ((timezone.now() - entry.last_run_at).total_seconds() for entry in entries if entry.last_run_at), default=None
    )
    figures = {"ticks": ticks, "seconds": round(lasted, 1), "last_run_written_down": age}
    if ticks:
        yield ok("It ticks.", **figures)
    else:
        last = f" The last run that it wrote down is {seconds(age)} old." if age is not None else ""
        says = f"No tick in {lasted:.0f} s: lost wake-ups and late clients go unnoticed.{last}"
        yield problem(says, START_BEAT, **figures)


def _watch(site: Site, *, within: float) -> tuple[int, float]:
    """How many ticks came since the first look, and how long that took; ends with the first one."""
    before, began = site.first_look, site.clock()
    while True:
        ticks = ticks_between(before, site.look(expected=len(before.workers)))
        lasted = site.clock() - began
        if ticks or lasted >= within:
            return ticks, lasted
        site.pause(LOOK_EVERY)


def ticks_between(before: Look, after: Look) -> int:
    """Tasks of beat that were received between two looks, and those that wait in addition."""
    received = 0
    for name, worker in after.workers.items():
        known = before.workers[name].received if name in before.workers else {}
        for task, number in worker.received.items():
            if task.startswith("chatworker.") and task != "chatworker.run_chat":
                received += max(0, number - known.get(task, 0))
    return received + max(0, after.backlog[QUEUE] - before.backlog[QUEUE])
