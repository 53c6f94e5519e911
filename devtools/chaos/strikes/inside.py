"""Blows through what the processes of an injected stack carry in themselves: clocks, hints, commits, the network."""

import asyncio
import time

from devtools.chaos.blows import Blow, Effect
from devtools.chaos.injection.handles import Injections
from devtools.chaos.injection.spec import BEHIND_PROXIES
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes.signals import gone, send
from devtools.chaos.strikes.workers import BUSY_WITHIN
from devtools.chaos.target import Target

CLOCK_SHIFTS = (-86_400, -600, -5, 5, 600, 86_400)
"""Seconds: a clock that was never set, one that drifts, and one that is set right under a running process."""
MODES = {"delay": 0.15, "drop": 0.0, "refuse": 0.0, "cut": 0.0}
"""Of the proxies, with their seconds."""
CUT_EVERY = 0.5
PROCESSES = ("web", "chat-worker", "chat-worker")
"""Whose commits are left in doubt, in turn."""
COMMITS_IN_DOUBT = "seed={seed}; commit_ambiguous=0.15; commit_terminated=0.15"


async def shift_clock(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """One clock is wrong for a while."""
    injections, shift = _injections(target), shift_of(one)
    worker = await target.busy_worker(one.pick, within=BUSY_WITHIN)
    if worker is None or not injections.has_clock(worker.role, worker.pid):
        return []
    at, streaming = time.time(), crowd.streaming
    injections.shift_clock(worker.role, shift)
    try:
        await asyncio.sleep(one.lasts)
    finally:
        injections.shift_clock(worker.role, 0)
    return [Blow(f"{one.what} by {shift} s", at, time.time(), streaming)]


async def shift_clock_and_kill(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """While the clock of one chat worker is wrong, it must find out that the other is dead, neither early nor late."""
    killed = await target.busy_worker(one.pick, within=BUSY_WITHIN)
    left = [worker for worker in await target.workers() if killed is not None and worker.pid != killed.pid]
    injections, shift = _injections(target), shift_of(one)
    if killed is None or not left or not injections.has_clock(left[0].role, left[0].pid):
        return []
    injections.shift_clock(left[0].role, shift)
    try:
        await asyncio.sleep(one.lasts / 2)
        chats = next((worker.chats for worker in await target.workers() if worker.pid == killed.pid), frozenset())
        streaming = crowd.streaming
        at = send(killed.pid, 9)
        await gone(killed.pid)
        await asyncio.sleep(one.lasts / 2)
    finally:
        injections.shift_clock(left[0].role, 0)
    return [Blow(f"{one.what}, by {shift} s", at, at, streaming, Effect.KILLED, (killed.worker_id,), len(chats))]


async def distort_hints(how: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """For all processes; what the sweep publishes is spared, as it is all that is left."""
    return await _for_a_while("hints", f"{how}; kinds=hint,wake-up", target, crowd, one)


async def leave_commits_in_doubt(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """The chat workers, or the web process: three COMMITs in ten happened, or not, and nobody is told."""
    whose = process_of(one)
    told = f"{whose}: {COMMITS_IN_DOUBT.format(seed=int(one.pick * 1e6))}"
    ids = tuple(worker.worker_id for worker in await target.workers()) if whose == "chat-worker" else ()
    return await _for_a_while("database", told, target, crowd, one, doubtful=ids)


async def spoil_network(server: str, target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """The way of one chat worker to a server: late, a black hole, closed to new connections, or cut twice a second."""
    worker = await target.busy_worker(one.pick, within=BUSY_WITHIN, role=BEHIND_PROXIES)
    if worker is None:
        return []
    injections, mode = _injections(target), mode_of(one)
    proxy = injections.postgres if server == "postgres" else injections.redis
    at, streaming = time.time(), crowd.streaming
    try:
        for _ in range(int(one.lasts / CUT_EVERY) if mode == "cut" else 1):
            await asyncio.to_thread(proxy.behave, mode, MODES[mode])
            await asyncio.sleep(CUT_EVERY if mode == "cut" else one.lasts)
    finally:
        await asyncio.to_thread(proxy.behave, "pass")
    what = f"{one.what}: {mode}"
    if (server, mode) == ("postgres", "drop"):  # for longer than its leases last
        return [Blow(what, at, time.time(), streaming, Effect.FROZEN, (worker.worker_id,), len(worker.chats))]
    return [Blow(what, at, time.time(), streaming)]


async def _for_a_while(
    name: str, told: str, target: Target, crowd: Crowd, one: Strike, doubtful: tuple[str, ...] = ()
) -> list[Blow]:
    """What the processes were told, for so long, if it landed; `doubtful`: workers whose chats others may take."""
    injections = _injections(target)
    before, at, streaming = injections.landed(name), time.time(), crowd.streaming
    injections.tell(name, told)
    try:
        await asyncio.sleep(one.lasts)
    finally:
        injections.tell(name, "")
    times = injections.landed(name) - before
    return [Blow(one.what, at, time.time(), streaming, worker_ids=doubtful, times=times)] if times else []


def shift_of(one: Strike) -> int:
    return CLOCK_SHIFTS[one.variant % len(CLOCK_SHIFTS)]


def mode_of(one: Strike) -> str:
    return list(MODES)[one.variant % len(MODES)]


def process_of(one: Strike) -> str:
    """Whose commits are left in doubt; the beginning of its role."""
    return PROCESSES[one.variant % len(PROCESSES)]


def _injections(target: Target) -> Injections:
    if target.injections is None:
        raise RuntimeError(f"the stack “{target.profile.name}” is not injected")
    return target.injections
