"""The chat worker: one per process. Owns the event loop on which all of its chats run, and everything they share.

`run_chat` is called from Celery's pool threads and returns when the chat is done; one pool slot is one running chat.
`worker_id` is new at each start, so that nothing of an earlier life can be mistaken for this one's.
"""

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import redis.asyncio
import structlog
import uvloop
from django.conf import settings

from chat.database import DatabaseThreads
from chat.episodes import EpisodeStore
from chat.stream.listener import Listener
from chatworker.acquisition import wake_waiting_chats
from chatworker.leases import Heartbeat, Key
from chatworker.loops import attempt, repeat
from chatworker.manager import RunnerManager
from chatworker.models.registry import ModelRegistry
from chatworker.resources import Resources
from chatworker.tally import TELL_EVERY, Tally

logger = structlog.get_logger(__name__)

DATABASE_THREADS = 8
"""Transactions at a time, and so connections, of one worker process; each takes a few milliseconds."""
SYNC_EVERY = 10.0
SWEEP_EVERY = 5.0
"""Seconds. Beat asks more often; this is for when beat or the maintenance worker are away."""
LEASE_CHECK_EVERY = 0.5
STUCK_AFTER = 60.0
"""Seconds without a turn of the event loop after which this process says that it is not well."""
LEASE_MARGIN = 2.0
"""Seconds before a lease can have expired at which its runner stops by this process's own clock."""
REDIS_TIMEOUT = 2.0
"""Seconds for one call: a Redis that hangs delays a commit by as much, once."""
SPARE_CONNECTIONS = 16
"""To Redis, beyond one that streams and one that closes an episode for each chat."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread of Python lets another run: the event loop must not wait 5 ms (the default) behind
Celery's own work or a transaction, several times in each turn."""
START_TIMEOUT = 30.0


class ChatWorker:
    def __init__(self, *, slots: int) -> None:
        """`slots`: how many chats may run at the same time, which is Celery's concurrency."""
        self.slots = slots
        self.worker_id: UUID = uuid4()
        self._thread = threading.Thread(target=self._run, name="chat-worker-loop", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._manager: RunnerManager | None = None
        self._heartbeat: Heartbeat | None = None
        self._started = threading.Event()
        self._ended: concurrent.futures.Future[bool] = concurrent.futures.Future()
        self._stopping: asyncio.Event | None = None
        self._drain_timeout = 0.0
        self._turned_at = time.monotonic()

    # --- from other threads --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the loop. Starting twice is an error and starts no second one."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("the chat worker's loop did not start; its log says why")

    def run_chat(self, chat_id: UUID) -> bool:
        """Run a chat to its end, in the calling thread's time; nothing to do is fine. False if it takes no more."""
        loop, manager = self._loop, self._manager
        if loop is None or manager is None or not self._thread.is_alive():
            return False
        visit = manager.run_chat(chat_id)
        try:
            running = asyncio.run_coroutine_threadsafe(visit, loop)
        except RuntimeError:  # the loop is closed
            visit.close()
            return False
        # No timeout: hundreds of threads that look at the clock every second meet, and fight for the interpreter.
        concurrent.futures.wait({running, self._ended}, return_when=concurrent.futures.FIRST_COMPLETED)
        if running.done():
            return running.result()
        visit.close()  # the loop ended at just this moment, and never looked at it
        return False

    def heartbeat_now(self) -> None:
        if self._heartbeat:
            self._heartbeat.beat_now()

    def sync_now(self) -> None:
        if self._loop and self._manager:
            sync = attempt("sync", self._manager.sync, is_stopping=lambda: self.is_closing)
            asyncio.run_coroutine_threadsafe(sync, self._loop)

    def health(self) -> dict[str, Any]:
        """What `/healthz` of this process says; "stuck" where it cannot go on by itself."""
        turned_after = time.monotonic() - self._turned_at
        beats = self._heartbeat is not None and self._heartbeat.is_alive
        alive = self._thread.is_alive() and beats and turned_after < STUCK_AFTER
        return {
            "status": "stuck" if not alive else "draining" if self.is_closing else "ok",
            "worker_id": str(self.worker_id),
            "running_chats": len(self.running_chats()),
            "slots": self.slots,
            "loop_turned_after": round(turned_after, 1),
        }

    def running_chats(self) -> list[str]:
        return [str(chat_id) for chat_id, _ in (self._manager.running if self._manager else ())]

    @property
    def is_closing(self) -> bool:
        """Whether it has been told to stop and takes no more chats."""
        return self._manager is None or not self._manager.accepting

    def begin_stop(self, *, drain_timeout: float) -> None:
        """Take nothing more, drain, hand over, and end the loop. Waits for nothing: a signal handler may call it."""
        self._drain_timeout = drain_timeout
        if self._loop and self._stopping and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self, *, drain_timeout: float) -> None:
        """`begin_stop`, if that was not called before; returns when everything has ended."""
        self.begin_stop(drain_timeout=drain_timeout)
        self._thread.join()

    def hand_over_now(self) -> None:
        """End the draining that `stop` waits for. From any thread, also from a signal handler."""
        if self._loop and self._manager:
            self._loop.call_soon_threadsafe(self._manager.stop_draining)

    # --- the loop ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BaseException:
            logger.critical("worker.loop_died", exc_info=True)
            os.kill(os.getpid(), signal.SIGTERM)  # a process without its loop must not look alive
        finally:
            self._ended.set_result(True)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        database = DatabaseThreads(DATABASE_THREADS, name="chat-worker-db")
        client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.CHATD_REDIS_URL,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            max_connections=2 * self.slots + SPARE_CONNECTIONS,  # beyond them a call fails as if Redis were away
        )
        models = ModelRegistry()
        resources = Resources(database, EpisodeStore(client), models)
        listener = Listener(settings.CHATD_REDIS_URL, on_reconnect=self.sync_now)
        manager = self._manager = RunnerManager(
            self.worker_id, resources, listener, lease_ttl=settings.CHATD_LEASE_TTL, slots=self.slots
        )
        self._heartbeat = Heartbeat(
            self.worker_id,
            slots=self.slots,
            interval=settings.CHATD_HEARTBEAT_INTERVAL,
            running=lambda: manager.running,
            renewed=self._on_renewed,
        )
        self._heartbeat.start()
        try:
            async with asyncio.TaskGroup() as group:
                sweep = Sweep(database)
                loops = [
                    group.create_task(listener.run(), name="listener"),
                    self._repeat(group, "watch-leases", self._watch_leases, every=LEASE_CHECK_EVERY),
                    self._repeat(group, "sync", manager.sync, every=SYNC_EVERY),
                    self._repeat(group, "sweep", sweep.once, every=SWEEP_EVERY, at_once=True),
                    self._repeat(group, "tally", Tally(client).tell, every=TELL_EVERY),
                ]
                logger.info("worker.started", worker_id=str(self.worker_id))
                self._started.set()
                await self._stopping.wait()
                self._heartbeat.drain()
                await manager.close(drain_timeout=self._drain_timeout)
                for loop in loops:
                    loop.cancel()
        finally:
            self._manager = None
            await asyncio.to_thread(self._heartbeat.stop)
            await models.aclose()
            await client.aclose()
            await asyncio.to_thread(database.close)
            logger.info("worker.stopped", worker_id=str(self.worker_id))

    def _on_renewed(self, asked: list[Key], kept: set[Key], began_at: float) -> None:
        """In the heartbeat's thread: what is kept counts at once, also for a loop that is blocked."""
        if self._loop and (manager := self._manager):
            manager.leases.renewed(kept, began_at)
            if lost := set(asked) - kept:
                self._loop.call_soon_threadsafe(manager.lost, lost)

    def _repeat(
        self, group: asyncio.TaskGroup, name: str, action: Callable[[], Awaitable[object]], **how: Any
    ) -> "asyncio.Task[None]":
        return group.create_task(repeat(name, action, is_stopping=lambda: self.is_closing, **how), name=name)

    async def _watch_leases(self) -> None:
        self._turned_at = time.monotonic()
        if self._manager:
            self._manager.stop_expired(margin=min(LEASE_MARGIN, settings.CHATD_LEASE_TTL / 4))


class Sweep:
    """The worker's own: for when beat or the maintenance worker are away. The first round leaves nobody waiting."""

    def __init__(self, database: DatabaseThreads) -> None:
        self._database = database
        self._grace = 0.0

    async def once(self) -> None:
        await self._database.run(wake_waiting_chats, grace=self._grace)
        self._grace = SWEEP_EVERY
