"""The beat schedule as code. `ensure_schedule` makes what is missing and leaves what an operator changed alone."""

from dataclasses import dataclass
from typing import Any

from chatworker.queues import MAINTENANCE_QUEUE


@dataclass(frozen=True)
class Entry:
    task: str
    every: float
    """Seconds."""
    description: str

    @property
    def name(self) -> str:
        return self.task.removeprefix("chatworker.")


def entries(*, heartbeat_every: float) -> list[Entry]:
    return [
        Entry("chatworker.heartbeat", heartbeat_every, "Chat workers renew the leases of their chats."),
        Entry("chatworker.sync_runners", 10, "Chat workers compare their runners with the database."),
        Entry("chatworker.acquire_waiting_chats", 1, "Wakes workers for chats that nobody works on."),
        Entry("chatworker.cancel_expired_actions", 1, "Stops waiting for clients that did not answer in time."),
        Entry("chatworker.reap_stale_leases", 10, "Deletes leases that nobody renews."),
    ]


def ensure_schedule(**_from_signal: Any) -> None:
    """Create the entries that are not there; after every migrate."""
    from django.conf import settings
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    for entry in entries(heartbeat_every=settings.CHATD_HEARTBEAT_INTERVAL):
        if PeriodicTask.objects.filter(name=entry.name).exists():
            continue
        every, period = (
            (int(entry.every), IntervalSchedule.SECONDS)
            if float(entry.every).is_integer()
            else (int(entry.every * 1_000_000), IntervalSchedule.MICROSECONDS)
        )
        interval, _ = IntervalSchedule.objects.get_or_create(every=every, period=period)
        PeriodicTask.objects.create(
            name=entry.name,
            task=entry.task,
            interval=interval,
            queue=MAINTENANCE_QUEUE,
            expire_seconds=max(5, int(entry.every) * 2),  # a backlog of ticks is worth nothing
            description=entry.description,
        )
