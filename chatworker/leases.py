"""Leases: renewed by heartbeats from a thread of its own, reaped when nobody renews them.

The thread has its own connection and does nothing else, so neither a busy event loop nor a full database pool delays a
heartbeat; on the same connection it holds the lock that says that the process is alive. One statement renews all leases
of a worker; it never revives an expired one nor creates one again.
"""

import threading
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections

from chat.crash import crash_point
from chat.presence import Presence, forget_dead_workers
from chatworker import metrics

logger = structlog.get_logger(__name__)

Key = tuple[UUID, UUID]
OWN_TICK_AFTER = 1.3
"""In heartbeat intervals: a worker that was not told to renew by then does so by itself."""
STOPS_WITHIN = 5.0
PRESENCE_EVERY = 0.5
"""Seconds between looks whether the connection that holds the worker's lock still stands."""


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
    """Delete leases that expired, and rows of dead workers; the number of leases. The sweep finds their chats."""
    forget_dead_workers()
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM chat_runnerlease WHERE heartbeat_at <= now() - %s * interval '1 second'",
            [settings.CHATD_LEASE_TTL],
        )
        return int(cursor.rowcount)


class LeaseClock:
    """When each lease of this process was last known to be good, by the monotonic clock.

    The heartbeat's thread writes, the event loop reads: a loop that was blocked for long sees what was renewed
    meanwhile before it gives anything up.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._good_at: dict[Key, float] = {}

    def taken(self, key: Key, at: float) -> None:
        with self._mutex:
            self._good_at[key] = at

    def renewed(self, keys: Iterable[Key], at: float) -> None:
        """Those that were given up meanwhile stay so."""
        with self._mutex:
            self._good_at.update(dict.fromkeys(self._good_at.keys() & set(keys), at))

    def given_up(self, key: Key) -> None:
        with self._mutex:
            self._good_at.pop(key, None)

    def not_renewed_since(self, limit: float) -> list[Key]:
        with self._mutex:
            return [key for key, good_at in self._good_at.items() if good_at <= limit]


class Heartbeat:
    """Beats when told to (`beat_now`, by Celery beat through remote control), and by itself when that is late."""

    def __init__(
        self,
        worker_id: UUID,
        *,
        slots: int,
        interval: float,
        running: Callable[[], list[Key]],
        renewed: Callable[[list[Key], set[Key], float], None],
    ) -> None:
        """`running` names the runners to renew; `renewed(asked, kept, began_at)` hears of each beat that worked. Both
        are called in the heartbeat's thread."""
        self._worker_id = worker_id
        self._interval = interval
        self._running = running
        self._renewed = renewed
        self._presence = Presence(worker_id, slots=slots)
        self._tick = threading.Event()
        self._stopping = threading.Event()
        self._draining = threading.Event()
        self._is_absent = False  # this and the next: of the thread alone
        self._last_at = 0.0
        self._thread = threading.Thread(target=self._run, name="chat-worker-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """A connection that hangs is not waited for: what is left of it dies with the process."""
        self._stopping.set()
        self._tick.set()
        self._thread.join(STOPS_WITHIN)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def drain(self) -> None:
        """Let the next look say that this worker takes no more chats."""
        self._draining.set()
        self._tick.set()

    def beat_now(self) -> None:
        self._tick.set()

    def _run(self) -> None:
        own_tick_every = self._interval * OWN_TICK_AFTER
        self._last_at = time.monotonic() - own_tick_every  # the first one is due at once
        try:
            while not self._stopping.is_set():
                try:
                    self._look(own_tick_every)
                except Exception:  # whatever it was, the next heartbeat must come
                    logger.exception("heartbeat.broken")
                    connections.close_all()
                self._tick.wait(min(PRESENCE_EVERY, own_tick_every))
            self._leave()
        finally:
            connections.close_all()

    def _look(self, own_tick_every: float) -> None:
        now = time.monotonic()
        if self._draining.is_set():
            self._say_draining()
        if self._is_present_anew() or self._tick.is_set() or now - self._last_at >= own_tick_every:
            self._tick.clear()
            metrics.HEARTBEAT_LATENESS.observe(max(0.0, now - self._last_at - self._interval))
            self._last_at = now
            self._beat()

    def _say_draining(self) -> None:
        self._draining.clear()
        try:
            self._presence.drain()
        except (DatabaseError, InterfaceError) as error:
            logger.debug("presence.not_draining", error=repr(error).strip())

    def _leave(self) -> None:
        try:
            self._presence.leave()
        except (DatabaseError, InterfaceError) as error:
            logger.debug("presence.not_left", error=repr(error).strip())  # the reaper clears the row away

    def _is_present_anew(self) -> bool:
        """Whether the lock had to be taken: others may have begun to think us dead, and a heartbeat says otherwise."""
        try:
            taken = self._presence.hold()
        except (DatabaseError, InterfaceError) as error:
            if not self._is_absent:  # once per outage, not twice a second
                logger.warning("presence.failed", error=repr(error).strip())
            self._is_absent = True
            connections.close_all()
            return False
        self._is_absent = False
        return taken

    def _beat(self) -> None:
        keys = self._running()
        if not keys:
            return
        began_at = time.monotonic()
        try:
            crash_point("heartbeat.before")
            kept = renew(self._worker_id, keys)
            crash_point("heartbeat.after")
        except (DatabaseError, InterfaceError) as error:
            metrics.HEARTBEAT_FAILURES.inc()
            logger.warning("heartbeat.failed", error=repr(error).strip())
            connections.close_all()
            return
        self._renewed(keys, kept, began_at)
