"""The chat workers there are: which of them live, what they can take, and what they have.

The rows say where a worker is, its lock says whether it lives (`chat/presence.py`), the leases what it runs.
"""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import connection

from chat.presence import LOCK_IS_HELD


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    worker_id: UUID
    host: str
    pid: int
    slots: int
    taken: int
    alive: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """`taken`: chats with a fresh lease, also those of workers without a row."""

    workers: tuple[WorkerSeen, ...]
    taken: int

    @property
    def taking(self) -> tuple[WorkerSeen, ...]:
        """Alive, and not told to stop."""
        return tuple(worker for worker in self.workers if worker.alive and not worker.draining)

    @property
    def draining(self) -> tuple[WorkerSeen, ...]:
        return tuple(worker for worker in self.workers if worker.alive and worker.draining)

    @property
    def dead(self) -> tuple[WorkerSeen, ...]:
        return tuple(worker for worker in self.workers if not worker.alive)

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.taking)


def read_fleet() -> Fleet:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH fresh AS (SELECT worker_id FROM chat_runnerlease
                    WHERE heartbeat_at > now() - %(ttl)s * interval '1 second')
                SELECT (SELECT count(*) FROM fresh), worker.worker_id, host, pid, slots,
                    (SELECT count(*) FROM fresh WHERE fresh.worker_id = worker.worker_id),
                    {LOCK_IS_HELD.format(worker_id="worker.worker_id")}, draining_since IS NOT NULL
                FROM (SELECT) one LEFT JOIN chat_workerprocess worker ON true ORDER BY started_at, worker_id""",
            {"ttl": settings.CHATD_LEASE_TTL},
        )
        rows = cursor.fetchall()
    return Fleet(tuple(WorkerSeen(*row[1:]) for row in rows if row[1] is not None), taken=rows[0][0])
