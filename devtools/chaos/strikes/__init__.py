"""How each blow is struck. A function returns what landed; nothing if there was nobody to hit.

Signals go to single processes of the system under test, by the pids that its supervisor wrote down.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from config import embedded
from config.embedded_servers import processes
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.target import Target, Worker

BLOCK_FOR = "CHATD_CHAOS_BLOCK_FOR"
"""The variable that names the file with the seconds of a block (`preloaded/sitecustomize.py`)."""
PRELOADED = Path(__file__).parent / "preloaded"
BUSY_WITHIN = 60.0
ENDS_WITHIN = 6.0
"""Seconds for the next end of an answer; the longest takes five."""
POSTS_AT_ONCE = 8
GONE_WITHIN = 30.0
"""Seconds, beyond what a process may take to drain."""

BlowFunction = Callable[[Target, Crowd, Strike], Awaitable[list[Blow]]]


async def strike(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Strike, with everything that falls together; returns when all of it is over."""

    async def later(other: Strike) -> list[Blow]:
        await asyncio.sleep(other.after)
        return await BLOWS[other.what](target, crowd, other)

    struck = [BLOWS[one.what](target, crowd, one), *map(later, one.together)]
    return [blow for blows in await asyncio.gather(*struck) for blow in blows]


def _send(pid: int, number: int) -> float:
    """Send a signal; when. Another blow may have been faster."""
    at = time.time()
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return at


async def _gone(pid: int, within: float) -> None:
    """Wait until the kernel has ended the process: until then it looks as if nothing had happened."""
    await asyncio.to_thread(processes.wait_until, lambda: not processes.is_alive(pid), within)


async def _victim(target: Target, crowd: Crowd, one: Strike) -> Worker | None:
    """A chat worker that runs chats; where asked for, in the moment in which one of their answers ends."""
    worker = await target.busy_worker(one.pick, within=BUSY_WITHIN)
    if worker is not None and one.at_end:
        await crowd.until_one_ends(worker.chats, within=ENDS_WITHIN)
    return worker


# --- chat workers ------------------------------------------------------------------------------------------------


async def _kill_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await _victim(target, crowd, one)
    if worker is None:
        return []
    at = _send(worker.pid, signal.SIGKILL)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.KILLED, (worker.worker_id,), len(worker.chats))
    await _gone(worker.pid, GONE_WITHIN)
    return [blow]


async def _kill_all_workers(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    if await _victim(target, crowd, one) is None:
        return []
    workers = await target.workers()
    at = min([_send(worker.pid, signal.SIGKILL) for worker in workers])
    chats = sum(len(worker.chats) for worker in workers)
    ids = tuple(worker.worker_id for worker in workers)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.KILLED, ids, chats)
    for worker in workers:
        await _gone(worker.pid, GONE_WITHIN)
    return [blow]


async def _tell_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await _victim(target, crowd, one)
    if worker is None:
        return []
    at = _send(worker.pid, signal.SIGTERM)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.TOLD, (worker.worker_id,), len(worker.chats))
    await _gone(worker.pid, target.profile.drain + GONE_WITHIN)
    return [blow]


async def _stop_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await _victim(target, crowd, one)
    if worker is None:
        return []
    at = _send(worker.pid, signal.SIGSTOP)
    streaming = crowd.streaming
    try:
        await asyncio.sleep(one.lasts)
    finally:
        _send(worker.pid, signal.SIGCONT)
    return [Blow(one.what, at, time.time(), streaming, Effect.FROZEN, (worker.worker_id,), len(worker.chats))]


async def _block_worker(number: int, event: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await _victim(target, crowd, one)
    if worker is None:
        return []
    await asyncio.to_thread(Path(target.stack.environment[BLOCK_FOR]).write_text, f"{one.lasts:.3f}")
    at = _send(worker.pid, number)
    streaming = crowd.streaming
    await asyncio.sleep(one.lasts)
    if not any(line["pid"] == worker.pid for line in target.log_lines(event)):
        return []
    holds_on = event == "chaos.loop_blocked"
    effect, ids = (Effect.NONE, ()) if holds_on else (Effect.FROZEN, (worker.worker_id,))
    return [Blow(one.what, at, time.time(), streaming, effect, ids, len(worker.chats))]


# --- servers -----------------------------------------------------------------------------------------------------


async def _empty_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    with target.redis() as client:
        await asyncio.to_thread(client.flushall)
    return [_on_nobody(one, crowd)]


async def _kill_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    pid = embedded.status(target.data_dir)["redis"]
    if pid is None:
        return []
    _send(pid, signal.SIGKILL)
    blow = _on_nobody(one, crowd)
    await _gone(pid, GONE_WITHIN)
    return [blow]


async def _crash_postgres(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    at, streaming = time.time(), crowd.streaming
    await asyncio.to_thread(embedded.restart_postgres, target.data_dir, "immediate")
    return [Blow(one.what, at, time.time(), streaming, Effect.AWAY)]


# --- the other processes -----------------------------------------------------------------------------------------


async def _kill_web(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """In the middle of several messages: 0 to 60 ms after they were sent."""
    pid = target.pids().get("web")
    if pid is None:
        return []
    posts = asyncio.create_task(crowd.speak_at_once(POSTS_AT_ONCE), name="posts")
    await asyncio.sleep(one.pick * 0.06)
    _send(pid, signal.SIGKILL)
    blow = _on_nobody(one, crowd)
    await posts
    await _gone(pid, GONE_WITHIN)
    return [blow]


async def _stop(role: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    pid = target.pids().get(role)
    if pid is None:
        return []
    at, streaming = _send(pid, signal.SIGSTOP), crowd.streaming
    try:
        await asyncio.sleep(one.lasts)
    finally:
        _send(pid, signal.SIGCONT)
    return [Blow(one.what, at, time.time(), streaming)]


async def _stop_and_more(role: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Without `role` a chat worker dies and every wake-up is lost, so only the other chat workers can find out."""

    async def more() -> list[Blow]:
        await asyncio.sleep(one.lasts / 4)
        killed = await _kill_worker(target, crowd, Strike("kill a chat worker", 0.0, one.pick, 0.0))
        return killed + await _empty_redis(target, crowd, Strike("empty Redis", 0.0, one.pick, 0.0))

    stopped, others = await asyncio.gather(_stop(role, target, crowd, one), more())
    return stopped + others


def _on_nobody(one: Strike, crowd: Crowd) -> Blow:
    now = time.time()
    return Blow(one.what, now, now, crowd.streaming)


BLOWS: dict[str, BlowFunction] = {
    "kill a chat worker": _kill_worker,
    "kill all chat workers": _kill_all_workers,
    "tell a chat worker to end": _tell_worker,
    "stop a chat worker": _stop_worker,
    "block the loop of a chat worker": partial(_block_worker, signal.SIGRTMIN + 1, "chaos.loop_blocked"),
    "block the interpreter of a chat worker": partial(_block_worker, signal.SIGRTMIN + 2, "chaos.interpreter_blocked"),
    "empty Redis": _empty_redis,
    "kill Redis": _kill_redis,
    "crash Postgres": _crash_postgres,
    "kill the web process": _kill_web,
    "stop beat": partial(_stop_and_more, "beat"),
    "stop the maintenance worker": partial(_stop_and_more, "maintenance"),
    "stop beat and no more": partial(_stop, "beat"),
    "stop the maintenance worker and no more": partial(_stop, "maintenance"),
}
