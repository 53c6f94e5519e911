"""Workers that are alive and time that has passed, for tests of what looks at them; what a doctor sees of Celery; and a
screen to look on.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from chat.doctor import workers
from chat.doctor.finding import Finding, Level
from chat.doctor.site import CeleryWorker, Look, Site
from chat.models import Chat, RunnerLease, triggers
from chat.presence import Presence
from tests.factories import WORKER
from tests.threads import LIMIT, Threads


class Screen:
    """What Django hands to a command."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.text = ""
        self._terminal = terminal

    def write(self, msg: str = "", style_func: object = None, ending: str | None = None) -> None:
        self.text += msg + (ending or "")

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self._terminal


def age_heartbeats(seconds: float) -> None:
    RunnerLease.objects.update(heartbeat_at=Now() - timedelta(seconds=seconds))


def pass_time(chat_id: UUID, column: str, seconds: float) -> None:
    """Set a time of the chat's row to so many seconds ago, past its triggers. Inside a transaction."""
    names = ",".join(trigger.get_pgid(Chat) for trigger in (triggers.chat_versions, triggers.touch_updated_at))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [f"{{{names}}}"])
        Chat.objects.filter(pk=chat_id).update(**{column: Now() - timedelta(seconds=seconds)})
        cursor.execute("SELECT set_config('pgtrigger.ignore', '{}', true)")


@contextmanager
def alive(worker_id: UUID = WORKER, *, slots: int = 3, draining: bool = False) -> Iterator[None]:
    """A worker that holds its lock on a connection of its own, and leaves in the end."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        presence = Presence(worker_id, slots=slots)
        presence.hold()
        if draining:
            presence.drain()
        held.set()
        over.wait(LIMIT)
        presence.leave()

    with Threads() as threads:
        threads.start(hold)
        try:
            assert held.wait(LIMIT)
            yield
        finally:
            over.set()


def levels(findings: Iterable[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def only(findings: Iterable[Finding]) -> Finding:
    [finding] = findings
    return finding


def look(
    received: dict[str, dict[str, int]] | None = None,
    *,
    backlog: int = 0,
    wake_ups: int = 0,
    pool: str = workers.THREADS,
) -> Look:
    """Each worker's name with the tasks it has received; it consumes both queues."""
    both = frozenset({"chats", "maintenance"})
    known = {name: CeleryWorker(both, pool, tasks) for name, tasks in (received or {}).items()}
    return Look(known, {"chats": wake_ups, "maintenance": backlog})


class Watched(Site):
    """Sees what the test says, one look after the other, the last one again and again; a second passes with each."""

    def __init__(self, *looks: Look) -> None:
        self.now = 0.0
        super().__init__(clock=lambda: self.now, pause=lambda _: None)
        self._looks = list(looks)

    def look(self, expected: int | None = None) -> Look:
        self.now += 1
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
