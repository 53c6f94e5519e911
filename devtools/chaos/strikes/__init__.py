"""How each blow is struck. A function returns what landed; nothing if there was nobody to hit.

`workers`, `servers` and `others` send signals; `inside` uses what the processes of an injected stack carry in
themselves (`injection/`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from signal import SIGRTMIN

from devtools.chaos.blows import Blow
from devtools.chaos.load.crowd import Crowd
from devtools.chaos.schedule import Strike
from devtools.chaos.strikes import inside, others, servers, workers
from devtools.chaos.target import Target

BlowFunction = Callable[[Target, Crowd, Strike], Awaitable[list[Blow]]]


async def strike(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    """Strike, with everything that falls together; returns when all of it is over."""

    async def later(other: Strike) -> list[Blow]:
        await asyncio.sleep(other.after)
        return await BLOWS[other.what](target, crowd, other)

    struck = [BLOWS[one.what](target, crowd, one), *map(later, one.together)]
    return [blow for blows in await asyncio.gather(*struck) for blow in blows]


BLOWS: dict[str, BlowFunction] = {
    "kill a chat worker": workers.kill_worker,
    "kill all chat workers": workers.kill_all_workers,
    "tell a chat worker to end": workers.tell_worker,
    "stop a chat worker": workers.stop_worker,
    "block the loop of a chat worker": partial(workers.block_worker, SIGRTMIN + 1, "chaos.loop_blocked"),
    "block the interpreter of a chat worker": partial(workers.block_worker, SIGRTMIN + 2, "chaos.interpreter_blocked"),
    "empty Redis": servers.empty_redis,
    "kill Redis": servers.kill_redis,
    "cut off everybody from Redis": servers.cut_off_redis,
    "crash Postgres": partial(servers.restart_postgres, "immediate"),
    "restart Postgres": partial(servers.restart_postgres, "fast"),
    "kill the web process": others.kill_web,
    "kill beat and the maintenance worker": others.kill_helpers,
    "stop beat": partial(others.stop_and_more, "beat"),
    "stop the maintenance worker": partial(others.stop_and_more, "maintenance"),
    "stop beat and no more": partial(others.stop, "beat"),
    "stop the maintenance worker and no more": partial(others.stop, "maintenance"),
    "shift the clock of a chat worker": inside.shift_clock,
    "shift the clock of a chat worker and kill the other": inside.shift_clock_and_kill,
    "lose hints": partial(inside.distort_hints, "drop=1"),
    "double, delay and shuffle hints": partial(inside.distort_hints, "double=0.3; delay=0-500"),
    "leave commits in doubt": inside.leave_commits_in_doubt,
    "spoil the way to Postgres": partial(inside.spoil_network, "postgres"),
    "spoil the way to Redis": partial(inside.spoil_network, "redis"),
}
