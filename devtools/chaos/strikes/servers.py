"""Blows at Redis and Postgres."""

import asyncio
import signal
import time

from config import embedded
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes.signals import gone, send
from devtools.chaos.target import Target


async def empty_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    with target.redis() as client:
        await asyncio.to_thread(client.flushall)
    return [on_nobody(one, crowd)]


async def kill_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    pid = embedded.status(target.data_dir)["redis"]
    if pid is None:
        return []
    send(pid, signal.SIGKILL)
    blow = on_nobody(one, crowd)
    await gone(pid)
    return [blow]


async def crash_postgres(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    at, streaming = time.time(), crowd.streaming
    await asyncio.to_thread(embedded.restart_postgres, target.data_dir, "immediate")
    return [Blow(one.what, at, time.time(), streaming, Effect.AWAY)]


def on_nobody(one: Strike, crowd: Crowd) -> Blow:
    """A blow of this moment that is meant for no chat worker."""
    now = time.time()
    return Blow(one.what, now, now, crowd.streaming)
