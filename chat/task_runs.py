"""How the last run of each background task went: when, how long, what it did.

Runs that take their time (archive, purge) have a row (`TaskRun`), which also says that one is under way, and a lock:
an advisory lock of the session, so that runs of one task exclude each other over all processes, and a killed one frees
it at once. What a run did is written down batch by batch, so that a killed one has said it. Ticks of every second or so
leave a note in Redis, which costs one round trip and may be lost.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import F
from django.db.models.functions import Now

from chat import hints
from chat.models import TaskRun

logger = structlog.get_logger(__name__)

_LOCK_CLASS = 0x7472  # "tr": apart from the locks of capacity
NOTE_KEPT = 24 * 3600
"""Seconds that the note of a tick outlives it."""
LONGEST_ERROR = 2000
"""Characters."""


class UnderWay(Exception):
    """Another run of this task is under way; this one does nothing."""


@dataclass
class Run:
    """A run that holds its task's lock."""

    task: str
    did: dict[str, int] = field(default_factory=dict)
    """In numbers; whoever runs fills it as it goes."""

    def tell(self) -> None:
        """Write down what it did so far."""
        self._write()

    def end(self, outcome: TaskRun.Outcome, error: str = "") -> None:
        more = ", outcome = %(outcome)s, error = %(error)s, finished_at = statement_timestamp()"
        self._write(more, outcome=outcome, error=error)

    def _write(self, more: str = "", **values: str) -> None:
        """The totals grow by what the row did not know yet: told twice, nothing counts twice."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"""UPDATE {TaskRun._meta.db_table} SET did = %(did)s, totals = totals || (
                        SELECT coalesce(jsonb_object_agg(name, coalesce((totals ->> name)::bigint, 0)
                            + number::bigint - coalesce((did ->> name)::bigint, 0)), '{{}}')
                        FROM jsonb_each_text(%(did)s) new (name, number)) {more}
                    WHERE task = %(task)s""",
                {**values, "task": self.task, "did": json.dumps(self.did)},
            )


@contextmanager
def exclusive_run(task: str) -> Iterator[Run]:
    """A run that no other one overlaps, written down at its beginning and at its end. Raises `UnderWay`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_CLASS, _key(task)])
        if not cursor.fetchone()[0]:
            raise UnderWay(f"{task}: another run is under way")
    run = Run(task)
    try:
        _begin(task)
        yield run
        run.end(TaskRun.Outcome.DONE)
    except BaseException as error:
        with suppress(DatabaseError, InterfaceError):  # the error itself is what matters
            run.end(TaskRun.Outcome.FAILED, _in_words(error)[:LONGEST_ERROR])
        raise
    finally:
        with suppress(DatabaseError, InterfaceError):  # without connection, without lock
            _unlock(task)


def _in_words(error: BaseException) -> str:
    return "interrupted (Ctrl-C)" if isinstance(error, KeyboardInterrupt) else repr(error)


def _unlock(task: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK_CLASS, _key(task)])
        if not cursor.fetchone()[0]:
            # This is not the session that took it: the connection was a new one meanwhile, or a pooler shares them.
            logger.warning("task.lock_not_released", task=task)


def is_under_way(task: str) -> bool:
    """Whether somebody holds the task's lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND classid::bigint = %s AND objid::bigint = %s)""",
            [_LOCK_CLASS, _key(task)],
        )
        return bool(cursor.fetchone()[0])


def last_end(task: str) -> datetime | None:
    """When its last run ended; of one that was killed, when it began. None: there was none."""
    row = TaskRun.objects.filter(pk=task).values_list("started_at", "finished_at").first()
    return None if row is None else row[1] or row[0]


def _key(task: str) -> int:
    """The second half of the lock; stable over processes and releases."""
    return int.from_bytes(hashlib.sha256(task.encode()).digest()[:4]) >> 1


def _begin(task: str) -> None:
    TaskRun.objects.get_or_create(
        pk=task, defaults={"outcome": TaskRun.Outcome.RUNNING, "started_at": datetime.now(UTC)}
    )
    TaskRun.objects.filter(pk=task).update(
        outcome=TaskRun.Outcome.RUNNING, started_at=Now(), finished_at=None, did={}, error="", runs=F("runs") + 1
    )


# --- ticks, and what is known of all -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LastRun:
    """`task`: as in beat's schedule. `took`: seconds, None while it runs; `error`: "" if it went well."""

    task: str
    at: datetime
    took: float | None
    did: dict[str, Any]
    error: str = ""
    interrupted: bool = False
    """It neither ended nor is it under way: it was killed."""


def note_key(task: str) -> str:
    return f"chatd:task:{task}"


@contextmanager
def noted_tick(task: str) -> Iterator[dict[str, Any]]:
    """A run that takes no time: what it did, which the block fills, is noted in Redis, or lost."""
    did: dict[str, Any] = {}
    at, begun, error = datetime.now(UTC), time.monotonic(), ""
    try:
        yield did
    except Exception as raised:
        error = repr(raised)[:LONGEST_ERROR]
        raise
    finally:
        note = {"at": at.isoformat(), "took": round(time.monotonic() - begun, 4), "did": did, "error": error}
        with suppress(redis.RedisError):
            hints.redis_client().set(note_key(task), json.dumps(note), ex=NOTE_KEPT)


def last_runs(tasks: list[str]) -> dict[str, LastRun]:
    """Of these tasks, those of which a run is known; without Redis, only those that have a row."""
    found = {}
    with suppress(redis.RedisError):
        notes: Any = hints.redis_client().mget([note_key(task) for task in tasks]) if tasks else []
        for task, note in zip(tasks, notes, strict=True):
            if note:
                seen = json.loads(note)
                at = datetime.fromisoformat(seen["at"])
                found[task] = LastRun(task, at, seen["took"], seen["did"], seen["error"])
    for row in TaskRun.objects.filter(pk__in=tasks):
        took = (row.finished_at - row.started_at).total_seconds() if row.finished_at else None
        killed = row.finished_at is None and not is_under_way(row.task)
        found[row.task] = LastRun(row.task, row.started_at, took, row.did, row.error, killed)
    return found
