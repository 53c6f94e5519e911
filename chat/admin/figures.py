"""What the start page is drawn from: a few queries that cost the same for a thousand chats and for millions.

What is under way, waits or has failed is counted exactly, by partial indexes. Of a big table, what rests is estimated
from the statistics that Postgres keeps of these indexes.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from redis.exceptions import RedisError

from chat import hints
from chat.minutes import Minute, read_minutes
from chat.presence import LOCK_IS_HELD

MINUTES = 60
SMALL = 48 * 1024 * 1024
"""Bytes of the table of chats up to which all are counted: some 100,000 chats, 20 ms."""
MOST_QUEUES = 20_000
"""Chats with a queue that are looked at."""
WAITS = (1, 5, 20, 60)
"""Seconds: the ends of the classes of waits. Taken at once; by the sweep; when leases end; something is wrong."""


@dataclass(frozen=True, slots=True)
class Census:
    """How many chats there are by (status, archived), and how many of them with a queue."""

    chats: dict[tuple[str, bool], int]
    with_queue: dict[tuple[str, bool], int]
    is_exact: bool

    def of(self, status: str, *, archived: bool = False) -> int:
        return self.chats.get((status, archived), 0)


@dataclass(frozen=True, slots=True)
class Worker:
    worker_id: UUID
    host: str
    pid: int
    slots: int
    chats: int
    """With a fresh lease."""
    heartbeat_age: timedelta | None
    """Of its oldest lease; None where it has none."""
    alive: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    chats: int
    oldest: timedelta | None
    by_wait: tuple[int, ...]
    """One more than `WAITS`: the last class has no end."""


def census() -> Census:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size('chat_chat')")
        is_exact = cursor.fetchone()[0] <= SMALL
        cursor.execute(_ALL if is_exact else _LIVE)
        chats = {(status, archived): count for status, archived, count in cursor.fetchall()}
        if not is_exact:
            cursor.execute(_ESTIMATES)
            everything, archived = cursor.fetchone()
            chats["waiting", True] = archived
            chats["waiting", False] = max(0, everything - archived - sum(_not_archived(chats)))
        cursor.execute(_WITH_QUEUE, {"most": MOST_QUEUES})
        with_queue = {(status, archived): count for status, archived, count in cursor.fetchall()}
    return Census(chats, with_queue, is_exact)


def _not_archived(chats: dict[tuple[str, bool], int]) -> list[int]:
    return [count for (_, archived), count in chats.items() if not archived]


_ALL = "SELECT status, archived, count(*) FROM chat_chat GROUP BY status, archived"
_LIVE = """
    SELECT status, false, count(*) FROM chat_chat
        WHERE NOT archived AND status IN ('running', 'interrupting') GROUP BY status
    UNION ALL SELECT 'requires_action', false, count(*) FROM chat_chat WHERE status = 'requires_action' AND NOT archived
    UNION ALL SELECT 'error', false, count(*) FROM chat_chat WHERE status = 'error' AND NOT archived"""
_ESTIMATES = """
    SELECT greatest(chats.reltuples, 0)::bigint, greatest(archived.reltuples, 0)::bigint
    FROM pg_class chats, pg_class archived
    WHERE chats.oid = 'chat_chat'::regclass AND archived.oid = 'chat_archived_by_activity'::regclass"""
_WITH_QUEUE = """
    SELECT status, archived, count(*) FROM chat_chat
    WHERE id IN (SELECT DISTINCT chat_id FROM chat_queuedmessage LIMIT %(most)s) GROUP BY status, archived"""


def waiting() -> Waiting:
    """Runnable chats that belong to nobody."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT width_bucket(extract(epoch FROM now() - waiting_since)::int, %s::int[]) AS class,
                count(*), now() - min(waiting_since)
                FROM chat_chat WHERE waiting_since IS NOT NULL GROUP BY class""",
            [list(WAITS)],
        )
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    by_wait = tuple(found[number][0] if number in found else 0 for number in range(len(WAITS) + 1))
    return Waiting(sum(by_wait), max((age for _, age in found.values()), default=None), by_wait)


def workers() -> list[Worker]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT worker.worker_id, host, pid, slots,
                (SELECT count(*) FROM chat_runnerlease lease WHERE lease.worker_id = worker.worker_id
                    AND heartbeat_at > now() - %(ttl)s * interval '1 second'),
                (SELECT now() - min(heartbeat_at) FROM chat_runnerlease lease
                    WHERE lease.worker_id = worker.worker_id),
                {LOCK_IS_HELD.format(worker_id="worker.worker_id")}, draining_since IS NOT NULL
                FROM chat_workerprocess worker ORDER BY started_at, worker_id LIMIT 50""",
            {"ttl": settings.CHATD_LEASE_TTL},
        )
        return [Worker(*row) for row in cursor.fetchall()]


def minutes() -> list[Minute] | None:
    """The last hour, the current minute last; None while Redis does not answer."""
    try:
        return read_minutes(hints.redis_client(), time.time(), MINUTES)
    except (RedisError, OSError):
        return None
