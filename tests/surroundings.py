"""Workers that are alive and time that has passed, for tests of what looks at them; and a screen to look on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

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
