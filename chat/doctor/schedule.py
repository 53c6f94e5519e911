"""Beat's entries in the database: missing, switched off, or changed so that they no longer do what they are for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django_celery_beat.models import PeriodicTask

from chat.doctor.finding import Finding, Level, ok, problem
from chat.doctor.site import Site

QUEUE = "maintenance"
MAKE_IT = "manage.py migrate makes what is missing."
ENABLE_IT = 'Enable it in the admin, under "Periodic tasks".'


@dataclass(frozen=True, slots=True)
class Expected:
    """`every`: seconds; 0: the heartbeat's setting. `needed`: nobody else does it."""

    every: float
    without: str
    needed: bool = False


EXPECTED = {
    "heartbeat": Expected(0, "chat workers renew their leases by themselves, only later"),
    "sync_runners": Expected(10, "chat workers look by themselves only"),
    "acquire_waiting_chats": Expected(1, "a lost wake-up costs seconds, until workers look by themselves"),
    "cancel_expired_actions": Expected(1, "chats wait for ever for clients that do not answer", needed=True),
    "reap_stale_leases": Expected(10, "leases of dead workers stay in the table"),
    "archive_inactive_chats": Expected(600, "chats that nobody touches stay where they are"),
    "purge": Expected(600, "archived chats stay for ever"),
    "finalize_stale_debug_runs": Expected(60, "debug runs stay open"),
}
"""What `chatworker/schedule.py` makes; a test compares."""


def entries(site: Site) -> Iterator[Finding]:
    found = {entry.name: entry for entry in PeriodicTask.objects.select_related("interval")}
    complaints = [finding for name, known in EXPECTED.items() for finding in _judge(name, known, found.get(name))]
    yield from complaints
    if not complaints:
        yield ok(f"All {len(EXPECTED)} entries are there and enabled.")


def _judge(name: str, known: Expected, entry: PeriodicTask | None) -> Iterator[Finding]:
    level = Level.PROBLEM if known.needed else Level.WARNING
    if entry is None:
        yield Finding(level, f"{name} is missing: {known.without}.", MAKE_IT, {"entry": name})
        return
    if not entry.enabled:
        yield Finding(level, f"{name} is disabled: {known.without}.", ENABLE_IT, {"entry": name})
    if entry.task != f"chatworker.{name}":
        says = f"{name} runs the task {entry.task!r}: {known.without}."
        yield problem(says, f'Set its task to "chatworker.{name}" in the admin.', entry=name)
    if entry.queue != QUEUE:
        says = f"{name} goes to the queue {entry.queue or 'default'!r}, where chats keep it waiting."
        yield Finding(Level.WARNING, says, f'Set its queue to "{QUEUE}" in the admin.', {"entry": name})
    every = timedelta(seconds=known.every or settings.CHATD_HEARTBEAT_INTERVAL)
    is_every = timedelta(**{entry.interval.period: entry.interval.every}) if entry.interval else None
    if is_every is None or is_every > every:
        says = f"{name} runs {_in_words(is_every)} instead of {_in_words(every)}: {known.without}."
        yield Finding(Level.WARNING, says, "Change its interval in the admin.", {"entry": name})


def _in_words(every: timedelta | None) -> str:
    return "at fixed times" if every is None else f"every {every.total_seconds():g} s"
