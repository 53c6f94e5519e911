"""What a test must not leave behind: threads, asyncio tasks, child processes, connections.

Looked at from inside this process, before and after: no waiting, so that a teardown which is only eventual is found.
Connections (Postgres, Redis, HTTP, and with them subscriptions) are sockets among the open files. What the process
keeps on purpose between tests, its main thread's database connection and its publishing side to Redis, does not count.
"""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

KEPT_THREADS = ("asyncio_", "ThreadPoolExecutor-0_")
"""Threads of executors that Django and asgiref keep for the life of the process."""

KEPT_CHILDREN: set[int] = set()
"""Pids that took the place of a child which was there before; whoever adds one removes it."""


@dataclass(frozen=True)
class Belongings:
    """Each with words that say which it is."""

    threads: dict[int, str] = field(default_factory=dict)
    tasks: dict[int, str] = field(default_factory=dict)
    children: dict[int, str] = field(default_factory=dict)
    sockets: dict[str, str] = field(default_factory=dict)

    def beyond(self, before: "Belongings") -> list[str]:
        """What is here now and was not there before."""
        return [
            f"{kind}: {words}"
            for kind in ("threads", "tasks", "children", "sockets")
            for key, words in getattr(self, kind).items()
            if key not in getattr(before, kind)
        ]


def belongings() -> Belongings:
    return Belongings(_threads(), _tasks(), _children(), _sockets())


def _threads() -> dict[int, str]:
    return {
        thread.ident or 0: thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith(KEPT_THREADS)
    }


def _tasks() -> dict[int, str]:
    """Tasks of any loop that are not done; those of a loop that was closed never will be."""
    return {id(task): repr(task) for task in list(asyncio.tasks._all_tasks) if not task.done()}  # type: ignore[attr-defined]


def _children() -> dict[int, str]:
    found = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in set(map(int, listing.read_text().split())) - KEPT_CHILDREN:
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
                    found[pid] = f"{pid} {command or 'ended, and nobody waited for it'}"
    return found


def _sockets() -> dict[str, str]:
    kept = _kept_sockets()
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:") and int(entry.name) not in kept:
                found[target] = f"{target} (file {entry.name})"
    return found


def _kept_sockets() -> set[int]:
    from django.db import connection

    raw = connection.connection
    return {raw.pgconn.socket} if raw is not None and not raw.closed else set()


class LeftBehind(AssertionError):
    """A test ended, and something that it started did not."""


@contextlib.contextmanager
def leaves_nothing_behind() -> Iterator[None]:
    """Raises `LeftBehind` for what the block left behind."""
    from chat import hints

    hints.disconnect()
    before = belongings()
    yield
    hints.disconnect()
    if belongings().beyond(before):
        gc.collect()  # objects that nobody can reach any more are closed now, not when the collector comes by
    if left := belongings().beyond(before):
        raise LeftBehind("\n".join(left))
