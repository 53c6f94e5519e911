"""The system under test, seen from outside: its processes, its rows, its Redis.

Asks the database through a connection of its own, and asks again where it does not answer: it is being broken on
purpose. Knows nothing of faults.
"""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import psycopg
import redis

from config import embedded
from devtools.chaos import audit
from devtools.chaos.faults import Profile
from devtools.chaos.growth import Growth, Holding
from devtools.chaos.injection.handles import Injections
from devtools.chaos.oracle.evidence import Rest
from devtools.stack import Stack
from devtools.state import State

CHAT_WORKERS = 2
LOOK_EVERY = 0.1
ANSWER_WITHIN = 30.0
"""Seconds for one question to the database, while it is being broken."""

WORKERS = """
SELECT process.pid, process.worker_id::text, array_remove(array_agg(chat.id::text), NULL)
FROM chat_workerprocess process
LEFT JOIN chat_chat chat ON chat.worker_id = process.worker_id AND chat.status IN ('running', 'interrupting')
WHERE process.draining_since IS NULL GROUP BY process.pid, process.worker_id
"""
UNFINISHED = """
SELECT (SELECT count(*) FROM chat_runnerlease), (SELECT count(*) FROM chat_queuedmessage),
    (SELECT count(*) FROM chat_chat WHERE status IN ('running', 'interrupting') OR runner_id IS NOT NULL),
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state LIKE 'idle in transaction%' AND now() - state_change > interval '1 second')
"""
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Worker:
    """A chat worker that takes chats; `chats`: those that it runs."""

    role: str
    pid: int
    worker_id: str
    chats: frozenset[str]


class Target:
    def __init__(self, stack: Stack, profile: Profile, noted: Path, injections: Injections | None = None) -> None:
        """`noted`: the folder into which its processes write their notes."""
        self.stack, self.profile, self.noted, self.injections = stack, profile, noted, injections
        self._addresses = embedded.addresses(stack.data_dir)
        self._growth = Growth()

    @property
    def data_dir(self) -> Path:
        return self.stack.data_dir

    # --- processes -----------------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Role → pid of every process that lives and is not stopped."""
        state = State.load(self.data_dir)
        children = {child.role: child.pid for child in state.children if child.is_alive()} if state else {}
        servers = {role: pid for role, pid in embedded.status(self.data_dir).items() if pid is not None}
        return {role: pid for role, pid in {**children, **servers}.items() if not _is_stopped(pid)}

    async def workers(self) -> list[Worker]:
        """The chat workers that take chats, by role."""
        roles = {pid: role for role, pid in self.pids().items()}
        rows = await self.query(WORKERS)
        return sorted(
            (Worker(roles[pid], pid, worker_id, frozenset(chats)) for pid, worker_id, chats in rows if pid in roles),
            key=lambda worker: worker.role,
        )

    async def busy_worker(self, pick: float, *, within: float, role: str = "") -> Worker | None:
        """One of the chat workers, or that of `role`, that runs at least one chat; None if none does within so many
        seconds.
        """
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if busy := [one for one in await self.workers() if one.chats and one.role.startswith(role)]:
                return busy[int(pick * len(busy))]
            await asyncio.sleep(LOOK_EVERY)
        return None

    async def whole(self, *, within: float) -> str:
        """Wait until every process is there and ready; what is missing after so many seconds, empty if nothing."""
        deadline = time.monotonic() + within
        while missing := await self._missing():
            if time.monotonic() > deadline:
                return missing
            await asyncio.sleep(LOOK_EVERY)
        return ""

    async def _missing(self) -> str:
        wanted = {"web", "beat", "maintenance", "demo-model", "postgres", "redis"}
        if gone := wanted - self.pids().keys():
            return f"{', '.join(sorted(gone))} not running"
        try:
            if len(await self.workers()) < CHAT_WORKERS:
                return "a chat worker not ready"
            await asyncio.to_thread(self._ping_web)
            with self.redis() as client:
                await asyncio.to_thread(client.ping)
        except (OSError, psycopg.Error, redis.RedisError) as error:
            return repr(error)
        return ""

    def _ping_web(self) -> None:
        url = urlsplit(self.stack.url)
        socket.create_connection((url.hostname or "", url.port or 80), timeout=2).close()

    # --- rows and keys -------------------------------------------------------------------------------------------

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, within: float = ANSWER_WITHIN) -> list[Any]:
        """The rows. Asks again for so many seconds, then raises what `psycopg` raises."""
        deadline = time.monotonic() + within
        while True:
            try:
                return await asyncio.to_thread(self._query, sql, parameters)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(LOOK_EVERY)

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        url = self._addresses.database_url
        with psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="chaos") as connection:
            cursor = connection.execute(sql, parameters) if parameters else connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self._addresses.redis_url, socket_timeout=5, socket_connect_timeout=2)

    async def install_audit(self) -> None:
        await self.query(audit.INSTALL)

    # --- rest ----------------------------------------------------------------------------------------------------

    async def rest(self, *, within: float, is_warm: bool = False) -> Rest:
        """Wait until nothing goes on any more, so many seconds at most; what is left then. `is_warm`: this is the rest
        after a warm-up, with which later ones are compared.
        """
        deadline = time.monotonic() + within
        leases, queued, unfinished, idle = (await self.query(UNFINISHED))[0]
        while (leases or queued or unfinished or idle) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY)
            leases, queued, unfinished, idle = (await self.query(UNFINISHED))[0]
        came = not (queued or unfinished)
        grown = self._growth.look(await self._holdings(), is_warm=is_warm)
        return Rest(came, leases, idle, await asyncio.to_thread(self._keys_without_ttl), tuple(grown))

    def _keys_without_ttl(self) -> tuple[str, ...]:
        """Of ours; what Celery's broker keeps for its queues has no end by design."""
        with self.redis() as client:
            return tuple(key.decode() for key in client.scan_iter("chatd:*", count=1000) if client.ttl(key) == -1)

    async def _holdings(self) -> list[Holding]:
        connections = (await self.query(CONNECTIONS))[0][0]
        found = [Holding("the database", 0, {"connections": connections})]
        for role, pid in self.pids().items():
            try:
                process = psutil.Process(pid)
                counts = {"descriptors": process.num_fds(), "threads": process.num_threads()}
            except psutil.Error:
                continue
            found.append(Holding(role, pid, counts))
        return found

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of an event, as they were written."""
        found = []
        with (self.data_dir / "dev.log").open(errors="replace") as lines:
            for line in lines:
                if f'"{event}"' in line and (start := line.find("{")) >= 0:
                    try:
                        found.append(json.loads(line[start:]))
                    except ValueError:
                        continue
        return found


def _is_stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return True
