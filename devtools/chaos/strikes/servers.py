"""Blows at Redis and Postgres."""

import asyncio
import signal
import time
from typing import Literal

import redis

from config import embedded
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes.signals import gone, send
from devtools.chaos.target import Target

SILENT_FOR = 1.5
"""Seconds in which Redis answers nobody: longer than the web process waits for it, shorter than a worker does."""


async def empty_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    with target.redis() as client:
        await asyncio.to_thread(client.flushall)
    return [on_nobody(one, crowd)]


async def cut_off_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Everybody's connection is closed, whoever comes back gets no answer for a while, and nothing is forgotten."""
    at, streaming = time.time(), crowd.streaming
    with target.redis() as client:
        closed = await asyncio.to_thread(_cut_off, client)
    await asyncio.sleep(SILENT_FOR)
    return [Blow(one.what, at, time.time(), streaming, times=closed)] if closed else []


def _cut_off(client: redis.Redis) -> int:
    """How many connections were closed; all but this one."""
    closed = [client.client_kill_filter(_type=kind, skipme=True) for kind in ("normal", "pubsub")]
    client.client_pause(int(SILENT_FOR * 1000), all=True)
    return sum(closed)


async def kill_redis(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    pid = embedded.status(target.data_dir)["redis"]
    if pid is None:
        return []
    send(pid, signal.SIGKILL)
    blow = on_nobody(one, crowd)
    await gone(pid)
    return [blow]


async def restart_postgres(mode: Literal["fast", "immediate"], target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    at, streaming = time.time(), crowd.streaming
    await asyncio.to_thread(embedded.restart_postgres, target.data_dir, mode)
    return [Blow(one.what, at, time.time(), streaming, Effect.AWAY)]


def on_nobody(one: Strike, crowd: Crowd) -> Blow:
    """A blow of this moment that is meant for no chat worker."""
    now = time.time()
    return Blow(one.what, now, now, crowd.streaming)
