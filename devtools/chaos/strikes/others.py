"""Blows at the web process, at beat and at the maintenance worker."""

import asyncio
import signal
import time

from devtools.chaos.blows import Blow
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes.servers import empty_redis, on_nobody
from devtools.chaos.strikes.signals import gone, send
from devtools.chaos.strikes.workers import kill_worker
from devtools.chaos.target import Target

POSTS_AT_ONCE = 8
HELPERS = frozenset({"beat", "maintenance"})


async def kill_web(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """In the middle of several messages: 0 to 60 ms after they were sent."""
    pid = target.pids().get("web")
    if pid is None:
        return []
    posts = asyncio.create_task(crowd.speak_at_once(POSTS_AT_ONCE), name="posts")
    await asyncio.sleep(one.pick * 0.06)
    send(pid, signal.SIGKILL)
    blow = on_nobody(one, crowd)
    await posts
    await gone(pid)
    return [blow]


async def kill_helpers(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Beat and the maintenance worker, at once."""
    pids = target.pids()
    if HELPERS - pids.keys():
        return []
    for role in HELPERS:
        send(pids[role], signal.SIGKILL)
    blow = on_nobody(one, crowd)
    for role in HELPERS:
        await gone(pids[role])
    return [blow]


async def stop(role: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    pid = target.pids().get(role)
    if pid is None:
        return []
    at, streaming = send(pid, signal.SIGSTOP), crowd.streaming
    try:
        await asyncio.sleep(one.lasts)
    finally:
        send(pid, signal.SIGCONT)
    return [Blow(one.what, at, time.time(), streaming)]


async def stop_and_more(role: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Without `role` a chat worker dies and every wake-up is lost, so only the other chat workers can find out."""

    async def more() -> list[Blow]:
        await asyncio.sleep(one.lasts / 4)
        killed = await kill_worker(target, crowd, Strike("kill a chat worker", 0.0, one.pick, 0.0))
        return killed + await empty_redis(target, crowd, Strike("empty Redis", 0.0, one.pick, 0.0))

    stopped, others = await asyncio.gather(stop(role, target, crowd, one), more())
    return stopped + others
