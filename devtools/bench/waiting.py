"""`./dev bench waiting`: what a chat costs whose model thinks: 500 at once on one worker process.

Every chat is running, its model has said three words and then nothing more. Memory, threads and descriptors of the
worker's process come from the kernel, its database connections from Postgres, where each process gives its name.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg

from config import embedded
from devtools.bench.client import Connection
from devtools.stack import Stack

CHATS = 500
SLOTS = CHATS + 12
PATIENCE = 600
"""Seconds that a model may be silent: longer than all of this takes."""
ROLE = "chat-worker-1"
CLIENTS = 8
STARTS_WITHIN = 180.0
SETTLES_IN = 10.0
RESTS_FOR = 20.0
"""Seconds over which its processor time is taken."""


class NotWaiting(Exception):
    """Not all chats came to where they should wait."""


@dataclass(frozen=True)
class Cost:
    """Of the worker's process at one moment."""

    memory: int
    """Bytes that belong to it alone."""
    threads: int
    descriptors: int
    connections: int
    """To Postgres."""

    @classmethod
    def of(cls, process: Any, database: "psycopg.Connection[Any]") -> "Cost":
        row = database.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [ROLE]).fetchone()
        assert row is not None
        return cls(process.memory_full_info().uss, process.num_threads(), process.num_fds(), row[0])


def measure(stack: Stack) -> dict[str, Any]:
    """The figures. Raises `NotWaiting`."""
    process = psutil.Process(stack.pids()[ROLE])
    with psycopg.connect(embedded.addresses(stack.data_dir).database_url, autocommit=True) as database:
        asyncio.run(_talk(stack, 2 * CLIENTS, "Say it. [at once] [say warm]"))  # connections and caches are there
        _until(database, "SELECT count(*) = 0 FROM chat_runnerlease", within=STARTS_WITHIN)
        before = Cost.of(process, database)
        begun = time.monotonic()
        asyncio.run(_talk(stack, CHATS, "Think. [long 50] [stall after 3]"))
        waiting = "SELECT count(*) = %s FROM chat_chat WHERE status = 'running' AND generation_attempt = 1"
        _until(database, waiting, CHATS, within=STARTS_WITHIN)
        began_in = time.monotonic() - begun
        time.sleep(SETTLES_IN)
        cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(RESTS_FOR)
        share = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        after = Cost.of(process, database)
        _until(database, waiting, CHATS, within=0)
    return {
        "chats": CHATS,
        "all_began_in_s": round(began_in, 1),
        "memory_before_mb": round(before.memory / 2**20, 1),
        "memory_mb": round(after.memory / 2**20, 1),
        "memory_per_chat_kb": round((after.memory - before.memory) / CHATS / 2**10, 1),
        "threads_before": before.threads,
        "threads": after.threads,
        "descriptors": after.descriptors,
        "database_connections_before": before.connections,
        "database_connections": after.connections,
        "cpu_at_rest_percent": round(share * 100, 1),
    }


async def _talk(stack: Stack, chats: int, text: str) -> None:
    """Start so many chats."""
    numbers = iter(range(chats))

    async def client() -> None:
        connection = Connection(stack.url, stack.token)
        try:
            for _ in numbers:
                await connection.request("POST", "/api/v1/chats", {"message": {"text": text}})
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


def _until(database: "psycopg.Connection[Any]", question: str, *parameters: object, within: float) -> None:
    deadline = time.monotonic() + within
    while not (database.execute(question, parameters).fetchone() or (False,))[0]:
        if time.monotonic() > deadline:
            raise NotWaiting(f"after {within:g} s this is not so: {question}")
        time.sleep(0.1)
