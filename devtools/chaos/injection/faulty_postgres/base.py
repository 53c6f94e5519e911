"""Django's Postgres backend that breaks where `database_faults.dice` says so; everything else is Django's.

A lost connection is really closed, so whoever goes on using it sees what psycopg says then. COMMIT is really sent
before its answer is thrown away, and a terminated backend is terminated by Postgres: of such a commit nobody here knows
what became of it, so Postgres is asked afterwards (`pg_xact_status`) and the answer noted, for the run's books alone.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import psycopg
from django.db.backends.postgresql import base
from psycopg import pq

from devtools.chaos.injection.database_faults import AT_AUTOCOMMIT, AT_COMMITS, AT_STATEMENTS, DELAY, dice

LOST = "injected: the connection was lost {when}"
HEAD_START = 0.001
"""Seconds at most that COMMIT, or the termination, is ahead of the other."""
SETTLED_WITHIN = 5.0
"""Seconds in which Postgres knows whether a transaction has committed."""


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute_wrappers.append(self._around_statement)

    def _around_statement(
        self, execute: Callable[..., Any], sql: Any, parameters: Any, many: bool, context: Any
    ) -> Any:
        fault = dice.draw(AT_STATEMENTS)
        if fault == "delay":
            dice.note(fault)
            time.sleep(dice.between(*DELAY))
        elif fault == "execute_lost":
            self._lose(fault, "before the statement")
        elif fault == "serialization":
            dice.note(fault)
            with self.wrap_database_errors:
                raise psycopg.errors.SerializationFailure("injected: could not serialize access")
        result = execute(sql, parameters, many, context)
        if not self.in_atomic_block and (fault := dice.draw(AT_AUTOCOMMIT)):
            self._lose(fault, "after the statement")
        return result

    def _commit(self) -> Any:
        fault = dice.draw(AT_COMMITS) if self.connection is not None else None
        if fault == "commit_lost":
            self._lose(fault, "before COMMIT")
        if fault == "commit_ambiguous":
            super()._commit()  # type: ignore[misc]
            self._lose(fault, "after COMMIT")
        if fault == "commit_terminated":
            self._commit_while_terminated()
        return super()._commit()  # type: ignore[misc]

    def _lose(self, fault: str, when: str, **facts: object) -> NoReturn:
        dice.note(fault, **facts)
        with self.wrap_database_errors:
            self.connection.close()
            raise psycopg.OperationalError(LOST.format(when=when))

    def _commit_while_terminated(self) -> None:
        """Send COMMIT, let the backend be terminated at the same time, never read the answer."""
        raw = self.connection
        xid = raw.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchone()[0]
        if xid is None:
            return  # nothing was written: nothing to be unsure of
        head_start = dice.between(-HEAD_START, HEAD_START)
        with psycopg.connect(**self._own_parameters(), autocommit=True) as other:
            terminate = threading.Thread(target=_terminate, args=(other, raw.info.backend_pid, max(0.0, head_start)))
            terminate.start()
            time.sleep(max(0.0, -head_start))
            _send_commit(raw.pgconn)
            terminate.join()
            raw.close()
            outcome = _outcome(other, xid)
        self._lose("commit_terminated", "in COMMIT", outcome=outcome)

    def _own_parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_connection_params().items() if name != "cursor_factory"}


def _terminate(other: "psycopg.Connection[Any]", backend_pid: int, after: float) -> None:
    time.sleep(after)
    other.execute("SELECT pg_terminate_backend(%s)", [backend_pid])


def _send_commit(pgconn: pq.abc.PGconn) -> None:
    try:
        pgconn.send_query(b"COMMIT")
        while pgconn.flush():
            pass
    except psycopg.Error:
        pass  # the termination was faster than the query


def _outcome(other: "psycopg.Connection[Any]", xid: str) -> str:
    """`committed` or `aborted`, once Postgres knows."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while True:
        row = other.execute("SELECT pg_xact_status(%s::xid8)", [xid]).fetchone()
        status = str(row[0]) if row else "unknown"
        if status != "in progress" or time.monotonic() > deadline:
            return status
        time.sleep(0.002)
