"""Postgres and Redis of our own, for whoever has set no DATABASE_URL or REDIS_URL: the same servers as in
production, out of Python wheels, under the data directory, reachable only through unix sockets.

Every process that uses them holds a shared lock for as long as it lives (`embedded_servers/locks.py`), and
whoever leaves as the last one stops them. So a lone `manage.py` command starts and stops them, and nothing
starts or stops per command while `./dev up` runs.
Invariant: servers start and stop only under the start lock, so two processes never start the same one.
On failure: `EmbeddedServerError`, whose text ends with the server's last log lines and what to do about it.
Knows nothing of Django, of Celery, or of what the database holds. A user killed with SIGKILL leaves the
servers running; the next one that ends as the last, or `./dev down`, stops them.
"""

import atexit
import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from config.embedded_servers import locks, postgres_server, redis_server
from config.embedded_servers.errors import EmbeddedServerError
from config.embedded_servers.layout import Layout

__all__ = [
    "Addresses",
    "EmbeddedServerError",
    "addresses",
    "ensure_running",
    "restart_postgres",
    "status",
    "stop",
    "stop_if_unused",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Addresses:
    """Where the embedded servers of one data directory are reached, whether they run or not."""

    postgres_socket_dir: Path
    redis_socket: Path
    database_url: str
    redis_url: str


def addresses(data_dir: Path) -> Addresses:
    """The addresses that belong to `data_dir`; starts nothing, touches nothing."""
    layout = Layout.of(data_dir)
    host = quote(str(layout.sockets), safe="")
    user, database = postgres_server.USER, postgres_server.DATABASE
    return Addresses(
        postgres_socket_dir=layout.sockets,
        redis_socket=layout.redis_socket,
        database_url=f"postgresql://{user}@/{database}?host={host}",
        redis_url=f"unix://{quote(str(layout.redis_socket))}?db=0",
    )


def ensure_running(data_dir: Path, *, postgres: bool = True, redis: bool = True) -> None:
    """Return once the wanted servers accept connections; this process counts as a user of them from then on.

    Safe to call often, from many threads and processes. Raises EmbeddedServerError.
    """
    if not (postgres or redis):
        return
    layout = Layout.of(data_dir)
    layout.create()
    with locks.starting_or_stopping(layout):
        if locks.hold(layout):
            atexit.register(_leave, layout)
        if postgres:
            postgres_server.ensure_running(layout)
        if redis:
            redis_server.ensure_running(layout)


def status(data_dir: Path) -> dict[str, int | None]:
    """The pid of each server, or None where it does not run."""
    layout = Layout.of(data_dir)
    return {
        "postgres": postgres_server.running_pid(layout),
        "redis": redis_server.running_pid(layout),
    }


def stop(data_dir: Path) -> None:
    """Stop both servers, whoever uses them. Data stays."""
    layout = Layout.of(data_dir)
    if layout.data_dir.is_dir():
        with locks.starting_or_stopping(layout):
            _stop_both(layout)


def stop_if_unused(data_dir: Path) -> bool:
    """Stop both servers unless some living process uses them. True if nothing of ours runs now."""
    layout = Layout.of(data_dir)
    if not layout.data_dir.is_dir():
        return True
    with locks.starting_or_stopping(layout), locks.alone(layout) as alone:
        if alone:
            _stop_both(layout)
    return alone


def restart_postgres(data_dir: Path, mode: Literal["fast", "immediate"] = "fast") -> None:
    """Stop Postgres (`immediate` is a crash without the power cut) and start it again; for fault tests."""
    layout = Layout.of(data_dir)
    layout.create()
    with locks.starting_or_stopping(layout):
        postgres_server.stop(layout, mode)
        postgres_server.ensure_running(layout)


def _stop_both(layout: Layout) -> None:
    redis_server.stop(layout)
    postgres_server.stop(layout, "fast")


def _leave(layout: Layout) -> None:
    """At exit: the last user stops the servers. Never raises: a process that ends has better things to
    report.
    """
    if not locks.is_ours(layout, os.getpid()) or not layout.data_dir.is_dir():
        return
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave the servers running
    try:
        with locks.starting_or_stopping(layout, give_up_after=10):
            if locks.release_as_last(layout):
                _stop_both(layout)
    except (EmbeddedServerError, OSError) as error:
        logger.warning("embedded.stop_failed error=%s", error)
