"""Blows at chat workers: killed, told to end, stopped, blocked."""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path

from devtools.chaos import notes
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes.signals import GONE_WITHIN, gone, send
from devtools.chaos.target import Target, Worker

BLOCK_FOR = "CHATD_CHAOS_BLOCK_FOR"
"""The variable that names the file with the seconds of a block (`preloaded/sitecustomize.py`)."""
BUSY_WITHIN = 60.0
LOOK_EVERY = 0.01
ENDS_WITHIN = 6.0
"""Seconds for the next end of an answer; the longest takes five."""


async def victim(target: Target, crowd: Crowd, one: Strike) -> Worker | None:
    """A chat worker that runs chats; where asked for, in the moment in which one of their answers ends."""
    worker = await target.busy_worker(one.pick, within=BUSY_WITHIN)
    if worker is not None and one.at_end and target.profile.lingers:
        await _until_it_lingers(target, worker.role)
    elif worker is not None and one.at_end:
        await crowd.until_one_ends(worker.chats, within=ENDS_WITHIN)
    return worker


async def _until_it_lingers(target: Target, role: str) -> None:
    """Until the chat worker is about to write an answer, or has not been for too long."""
    before = notes.times_lingered(target.noted, role)
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDS_WITHIN):
            while notes.times_lingered(target.noted, role) == before:  # noqa: ASYNC110  (a file has no event)
                await asyncio.sleep(LOOK_EVERY)


async def kill_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await victim(target, crowd, one)
    if worker is None:
        return []
    at = send(worker.pid, signal.SIGKILL)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.KILLED, (worker.worker_id,), len(worker.chats))
    await gone(worker.pid)
    return [blow]


async def kill_all_workers(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    if await victim(target, crowd, one) is None:
        return []
    workers = await target.workers()
    at = min([send(worker.pid, signal.SIGKILL) for worker in workers])
    chats = sum(len(worker.chats) for worker in workers)
    ids = tuple(worker.worker_id for worker in workers)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.KILLED, ids, chats)
    for worker in workers:
        await gone(worker.pid)
    return [blow]


async def tell_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await victim(target, crowd, one)
    if worker is None:
        return []
    at = send(worker.pid, signal.SIGTERM)
    blow = Blow(one.what, at, at, crowd.streaming, Effect.TOLD, (worker.worker_id,), len(worker.chats))
    await gone(worker.pid, target.profile.drain + GONE_WITHIN)
    return [blow]


async def stop_worker(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await victim(target, crowd, one)
    if worker is None:
        return []
    at = send(worker.pid, signal.SIGSTOP)
    streaming = crowd.streaming
    try:
        await asyncio.sleep(one.lasts)
    finally:
        send(worker.pid, signal.SIGCONT)
    return [Blow(one.what, at, time.time(), streaming, Effect.FROZEN, (worker.worker_id,), len(worker.chats))]


async def block_worker(number: int, event: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    worker = await victim(target, crowd, one)
    if worker is None:
        return []
    await asyncio.to_thread(Path(target.stack.environment[BLOCK_FOR]).write_text, f"{one.lasts:.3f}")
    at = send(worker.pid, number)
    streaming = crowd.streaming
    await asyncio.sleep(one.lasts)
    if not any(line["pid"] == worker.pid for line in target.log_lines(event)):
        return []
    holds_on = event == "chaos.loop_blocked"
    effect, ids = (Effect.NONE, ()) if holds_on else (Effect.FROZEN, (worker.worker_id,))
    return [Blow(one.what, at, time.time(), streaming, effect, ids, len(worker.chats))]
