"""Which worker processes are alive, told by a lock that dies with its process.

Each chat worker holds a session-level advisory lock on its `worker_id`, on the connection of its heartbeats. Postgres
frees it within milliseconds when the process is killed, so a sweep need not wait for the heartbeats to expire: it takes
the leases of a worker whose lock is free. A lock can also be free because a connection broke or Postgres restarted,
and then its worker takes it again at once; so a worker counts as dead only if its lock is free at two looks, a second
apart, and its last heartbeat is not from the last moments. Wrong or late, the fence decides.

A worker that hangs or is cut off keeps its lock; for it the expiry of its heartbeats counts. Behind a pooler that
shares sessions (pgbouncer in transaction mode) nobody counts as dead before that.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.db import connection
from django.db.models.functions import Now

from chat import metrics
from chat.database import is_broken
from chat.models import WorkerProcess

logger = structlog.get_logger(__name__)

CONFIRMED_AFTER = 0.8
"""Seconds between two looks that find a lock free: longer than a living worker needs to take it again."""
FORGOTTEN_AFTER = 30.0
"""Seconds after which an unconfirmed suspicion is worth nothing."""
LAST_MOMENTS = 1.0
"""Seconds: a heartbeat that young is proof of life, whatever the lock says."""

LOCK_IS_HELD = """EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ((classid::bigint << 32) | objid::bigint)
        = ('x' || left(replace({worker_id}::text, '-', ''), 16))::bit(64)::bigint)"""
"""SQL: whether the worker with this id holds its lock."""
_DEAD = f"""lease.heartbeat_at <= now() - %(moments)s * interval '1 second'
    AND NOT {LOCK_IS_HELD.format(worker_id="lease.worker_id")}"""


def lock_key(worker_id: UUID) -> int:
    """The worker's advisory lock: the first half of its id as a signed integer of 64 bits."""
    return int.from_bytes(worker_id.bytes[:8], signed=True)


class Presence:
    """One worker's lock, on the connection of the calling thread, and its row; used by one thread only."""

    def __init__(self, worker_id: UUID, *, slots: int) -> None:
        self._row = WorkerProcess(worker_id=worker_id, host=socket.gethostname(), pid=os.getpid(), slots=slots)
        self._key = lock_key(worker_id)
        self._held_on: object = None

    def hold(self) -> bool:
        """Take the lock unless this connection has it. True if it had to be taken. Raises what the database raises."""
        if self._held_on is not None and self._held_on is connection.connection and not is_broken():
            return False
        if is_broken():
            connection.close()
        self._held_on = None
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [self._key])
            taken = bool(cursor.fetchone()[0])
        if taken:  # else the server has not noticed yet that our last connection is gone: next time
            self._write_row()
            self._held_on = connection.connection
        return taken

    def drain(self) -> None:
        """Say that this worker takes no more chats."""
        WorkerProcess.objects.filter(pk=self._row.pk).update(draining_since=Now())

    def leave(self) -> None:
        """The worker stops in good order; the lock goes with the connection."""
        WorkerProcess.objects.filter(pk=self._row.pk).delete()

    def _write_row(self) -> None:
        fields = ["host", "pid", "slots"]
        WorkerProcess.objects.bulk_create(
            [self._row], update_conflicts=True, unique_fields=["worker_id"], update_fields=fields
        )


class DeadWorkers:
    """What one process has seen of other workers' locks. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._suspected_at: dict[UUID, float] = {}

    def take_leases(self) -> int:
        """Delete the leases of workers that are dead for certain; their chats can be taken at once. The number."""
        dead = self._confirmed(_workers_without_lock())
        taken = _delete_leases(dead) if dead else 0
        metrics.DEAD_WORKER_LEASES.inc(taken)
        if taken:
            logger.warning("worker.found_dead", workers=[str(worker_id) for worker_id in dead], leases=taken)
        return taken

    def _confirmed(self, suspects: set[UUID]) -> list[UUID]:
        now = self._clock()
        with self._mutex:
            for worker_id, suspected_at in list(self._suspected_at.items()):
                if worker_id not in suspects or now - suspected_at > FORGOTTEN_AFTER:
                    del self._suspected_at[worker_id]
            for worker_id in suspects:
                self._suspected_at.setdefault(worker_id, now)
            return [known for known in suspects if now - self._suspected_at[known] >= CONFIRMED_AFTER]


def _workers_without_lock() -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT lease.worker_id FROM chat_runnerlease lease WHERE {_DEAD}", {"moments": LAST_MOMENTS}
        )
        return {row[0] for row in cursor.fetchall()}


def _delete_leases(workers: list[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM chat_runnerlease lease WHERE lease.worker_id = ANY(%(workers)s) AND {_DEAD}",
            {"workers": workers, "moments": LAST_MOMENTS},
        )
        return int(cursor.rowcount)


def forget_dead_workers() -> int:
    """Delete the rows of workers whose lock is free; the number. A living one without its lock writes its row again."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM chat_workerprocess worker WHERE NOT {LOCK_IS_HELD.format(worker_id='worker_id')}")
        return int(cursor.rowcount)


dead_workers = DeadWorkers()
"""Of this process: its sweeps share what they have seen."""
