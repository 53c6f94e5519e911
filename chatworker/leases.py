"""Leases: renewed by heartbeats from a thread of its own, reaped when nobody renews them.

The thread has its own connection and does nothing else, so neither a busy event loop nor a full database pool delays a
heartbeat. One statement renews all leases of a worker; it never revives an expired one nor creates one again.
"""

import threading
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, connections

logger = structlog.get_logger(__name__)

Key = tuple[UUID, UUID]
OWN_TICK_AFTER = 1.3
"""In heartbeat intervals: a worker that was not told to renew by then does so by itself."""


def renew(worker_id: UUID, keys: Iterable[Key]) -> set[Key]:
    """Renew the leases of a worker's runners; those that were still fresh and still own their chat."""
    keys = list(keys)
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE chat_runnerlease lease SET heartbeat_at = now() FROM chat_chat chat
               WHERE lease.worker_id = %s AND lease.runner_id = ANY(%s)
               AND chat.id = lease.chat_id AND chat.runner_id = lease.runner_id
               AND lease.heartbeat_at > now() - %s * interval '1 second'
               RETURNING lease.chat_id, lease.runner_id""",
            [worker_id, [runner_id for _, runner_id in keys], settings.CHATD_LEASE_TTL],
        )
        return {(chat_id, runner_id) for chat_id, runner_id in cursor.fetchall()}


def reap() -> int:
    """Delete leases that expired; the number. The chats they belonged to are found by the sweep."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM chat_runnerlease WHERE heartbeat_at <= now() - %s * interval '1 second'",
            [settings.CHATD_LEASE_TTL],
        )
        return int(cursor.rowcount)


class Heartbeat:
    """Beats when told to (`beat_now`, by Celery beat through remote control), and by itself when that is late."""

    def __init__(
        self,
        worker_id: UUID,
        *,
        interval: float,
        running: Callable[[], list[Key]],
        renewed: Callable[[list[Key], set[Key], float], None],
    ) -> None:
        """`running` names the runners to renew; `renewed(asked, kept, began_at)` hears of each beat that worked."""
        self._worker_id = worker_id
        self._interval = interval
        self._running = running
        self._renewed = renewed
        self._tick = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="chat-worker-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._tick.set()
        self._thread.join()

    def beat_now(self) -> None:
        self._tick.set()

    def _run(self) -> None:
        try:
            while True:
                self._tick.wait(self._interval * OWN_TICK_AFTER)
                self._tick.clear()
                if self._stopping:
                    return
                self._beat()
        finally:
            connections.close_all()

    def _beat(self) -> None:
        keys = self._running()
        if not keys:
            return
        began_at = time.monotonic()
        try:
            close_old_connections()
            kept = renew(self._worker_id, keys)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("heartbeat.failed", error=repr(error).strip())
            return
        self._renewed(keys, kept, began_at)
