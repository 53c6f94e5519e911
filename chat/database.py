"""Whole transactions from an event loop: a small, bounded pool of database threads.

`await in_database(commit_step, fence, rows)` runs a synchronous function in one of the threads. Connections belong to
the threads: usable ones are kept where `CONN_MAX_AGE` says so and returned to the pool otherwise; broken ones are
dropped before the next call. The number of threads bounds the connections, whatever the number of chats.
"""

import asyncio
import select
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections, connection, connections

P = ParamSpec("P")
R = TypeVar("R")

CLOSE_TIMEOUT = 15.0
"""Seconds: longer than a statement may take (`statement_timeout`), so that a busy thread is waited for."""


class DatabaseThreads:
    """Owns the threads; whoever creates it closes it."""

    def __init__(self, threads: int, *, name: str) -> None:
        self._count = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function(*args, **kwargs)` in a database thread. Cancelling the caller does not stop the function."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: _with_connections(function, *args, **kwargs))

    def close(self) -> None:
        """Close every thread's connections and wait for the threads to end."""
        together = threading.Barrier(self._count)  # so that no thread takes two of the calls and another none

        def close_mine() -> None:
            connections.close_all()
            together.wait(CLOSE_TIMEOUT)

        for _ in range(self._count):
            self._executor.submit(close_mine)
        self._executor.shutdown(wait=True)


def is_broken() -> bool:
    """Whether the other end closed this thread's connection; without asking it, unless it has something to say."""
    raw = connection.connection
    if raw is None:
        return False
    if raw.closed or raw.broken:
        return True
    poll = select.poll()
    poll.register(raw.pgconn.socket, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0)) and not connection.is_usable()


def _with_connections(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    close_old_connections()
    if is_broken():  # Postgres was restarted since: what comes now need not fail for it
        connection.close()
    try:
        return function(*args, **kwargs)
    finally:
        if "pool" in settings.DATABASES["default"].get("OPTIONS", {}):
            connections.close_all()  # back to the pool: nobody holds a connection while waiting for a client
