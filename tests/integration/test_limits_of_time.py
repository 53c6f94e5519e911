"""What Postgres and Redis may cost us at most: statements, connections and publications all end."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from django.db import OperationalError, connection
from structlog.testing import capture_logs

from chat import hints
from chatworker.testing import wait_until

HANGS_FOR = 15.0
"""Seconds until a server that says nothing hangs up, so that a test without a limit of time fails and ends."""


@contextlib.contextmanager
def saying_nothing(listening: socket.socket) -> Iterator[None]:
    """A server that takes connections and never answers, while inside."""
    listening.listen()
    hang_up = threading.Timer(HANGS_FOR, listening.close)  # which ends the connections that nobody took, too
    hang_up.start()
    try:
        yield
    finally:
        hang_up.cancel()
        hang_up.join()


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def one_more_connection() -> "psycopg.Connection[Any]":
    """As Django makes them, and nobody's but the test's."""
    return connection.Database.connect(**connection.get_connection_params())  # type: ignore[no-any-return]


# --- Postgres ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_statement_ends_after_ten_seconds() -> None:
    with within(14), pytest.raises(OperationalError, match="statement timeout"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(20)")


@pytest.mark.django_db(transaction=True)
def test_a_statement_whose_client_is_gone_ends_within_moments_and_with_it_what_it_locked() -> None:
    gone = one_more_connection()
    gone.execute("SELECT pg_advisory_lock(4711)")
    pid = gone.info.backend_pid
    gone.pgconn.send_query(b"SELECT pg_sleep(9)")
    wait_until(lambda: _does(pid), lambda found: "pg_sleep" in found, timeout=5)
    gone.close()
    wait_until(lambda: _does(pid), lambda found: found == "", timeout=6)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(4711), pg_advisory_unlock(4711)")
        assert cursor.fetchone() == (True, True)


def _does(pid: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid])
        return "".join(row[0] for row in cursor.fetchall())


def test_who_connects_to_a_postgres_that_says_nothing_gives_up_after_five_seconds(db: None) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        there = {"host": "127.0.0.1", "port": listening.getsockname()[1]}
        with saying_nothing(listening), within(12), pytest.raises(psycopg.OperationalError):
            connection.Database.connect(**connection.get_connection_params() | there)


# --- Redis, where somebody waits for the answer ------------------------------------------------------------------


@pytest.fixture
def silent_redis(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """The socket of a Redis that takes connections and never answers."""
    path = tmp_path / "redis.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        with saying_nothing(listening):
            hints.disconnect()
            settings.CHATD_REDIS_URL, settings.CELERY_BROKER_URL = f"unix://{path}", f"redis+socket://{path}"
            yield path
            hints.disconnect()


@pytest.mark.parametrize("redis_does", ["say nothing", "not exist"])
def test_a_wake_up_that_redis_does_not_take_is_given_up_within_moments(
    redis_does: str, silent_redis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if redis_does == "not exist":
        silent_redis.unlink()
    monkeypatch.setattr(hints, "_skip_until", 0.0)
    with capture_logs() as logs, within(4):
        hints.publish_wake_up(uuid4())
    assert [(log["event"], log["what"]) for log in logs] == [("hint.not_published", "wake-up")]


@pytest.mark.parametrize(
    "ask", [lambda: hints.redis_client().ping(), hints.waiting_wake_ups], ids=["a ping", "a sweep"]
)
def test_whoever_asks_a_silent_redis_is_told_within_moments(silent_redis: Path, ask: Callable[[], object]) -> None:
    with within(4), pytest.raises(redis.TimeoutError):
        ask()
