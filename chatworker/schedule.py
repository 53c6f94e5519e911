"""The beat schedule as code, and how it gets into the database: by a migration, and after every later migrate.

What is missing is made. What the code changed since it last wrote an entry (`ScheduleDefault`) is written, unless an
operator has changed that very field: a pause, another interval, another queue stay as they are. An entry that the code
no longer has goes, unless an operator has changed it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps as the_apps
from django.apps.registry import Apps

from chatworker.queues import MAINTENANCE_QUEUE

PLANNED_FROM_THEIR_END = frozenset({"chatworker.archive_inactive_chats", "chatworker.purge"})
"""Tasks that take their time: `chatworker/planner.py`."""


@dataclass(frozen=True)
class Entry:
    task: str
    every: float
    """Seconds."""
    description: str

    @property
    def name(self) -> str:
        return self.task.removeprefix("chatworker.")

    @property
    def written(self) -> dict[str, Any]:
        """What stands in the database; `every` for the interval."""
        return {
            "task": self.task,
            "every": float(self.every),
            "queue": MAINTENANCE_QUEUE,
            "expire_seconds": max(5, int(self.every) * 2),  # a backlog of ticks is worth nothing
            "description": self.description,
        }


def entries(*, heartbeat_every: float) -> list[Entry]:
    return [
        Entry("chatworker.heartbeat", heartbeat_every, "Chat workers renew the leases of their chats."),
        Entry("chatworker.sync_runners", 10, "Chat workers compare their runners with the database."),
        Entry("chatworker.acquire_waiting_chats", 1, "Wakes workers for chats that nobody works on."),
        Entry("chatworker.cancel_expired_actions", 1, "Stops waiting for clients that did not answer in time."),
        Entry("chatworker.reap_stale_leases", 10, "Deletes leases that nobody renews."),
        Entry("chatworker.archive_inactive_chats", 600, "Archives chats that nobody touches any more."),
        Entry("chatworker.purge", 600, "Deletes chats that have been archived for long."),
        Entry("chatworker.finalize_stale_debug_runs", 60, "Closes debug runs that nobody goes on with."),
    ]


def ensure_schedule(*, apps: Apps = the_apps, **_from_signal: Any) -> None:
    """Keep the entries in step with the code; harmless to repeat. `apps`: those of a migration, or today's.

    Nothing where they are from before there were notes of what was written: somebody migrates backwards.
    """
    from django.conf import settings
    from django.db import transaction

    try:
        schedule_default = apps.get_model("chat", "ScheduleDefault")
        periodic_task = apps.get_model("django_celery_beat", "PeriodicTask")
    except LookupError:
        return
    wanted = {entry.name: entry.written for entry in entries(heartbeat_every=settings.CHATD_HEARTBEAT_INTERVAL)}
    with transaction.atomic():
        before = dict(schedule_default.objects.values_list("name", "written"))
        found = {entry.name: entry for entry in periodic_task.objects.filter(name__in=wanted.keys() | before.keys())}
        for name, written in wanted.items():
            if name not in found:
                _write(apps, periodic_task(name=name), written)
            else:
                # Of an entry from before there were such notes, only what the code says now is known to be ours.
                ours = before.get(name, written)
                stands = _standing(found[name])
                changed = {key: new for key, new in written.items() if stands[key] == ours.get(key) != new}
                _write(apps, found[name], changed)
            schedule_default.objects.update_or_create(name=name, defaults={"written": written})
        for name in before.keys() - wanted.keys():
            if name in found and _standing(found[name]) == before[name] and found[name].enabled:
                found[name].delete()
            schedule_default.objects.filter(name=name).delete()


def _standing(entry: Any) -> dict[str, Any]:
    """What stands in the database now, in the form of `Entry.written`."""
    interval = entry.interval
    every = timedelta(**{interval.period: interval.every}).total_seconds() if interval else None
    return {
        "task": entry.task,
        "every": every,
        "queue": entry.queue,
        "expire_seconds": entry.expire_seconds,
        "description": entry.description,
    }


def _write(apps: Apps, entry: Any, fields: dict[str, Any]) -> None:
    if not fields:
        return
    for key, value in fields.items():
        if key == "every":
            entry.interval = _interval(apps, value)
        else:
            setattr(entry, key, value)
    entry.save()


def _interval(apps: Apps, every: float) -> Any:
    """One like that: they are not unique, and an operator may have made a second one."""
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    number, period = (int(every), "seconds") if every.is_integer() else (int(every * 1_000_000), "microseconds")
    alike = interval.objects.filter(every=number, period=period).order_by("pk")
    return alike.first() or interval.objects.create(every=number, period=period)
