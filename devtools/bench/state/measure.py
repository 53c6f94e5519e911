"""The whole run, in a process whose Django is set up: seed, measure with each number of threads, check, sum up."""

import os
import sys
import time
from typing import Any

import redis
from django.conf import settings

from chatworker.worker import SWITCH_INTERVAL
from devtools.bench.state import seeds
from devtools.bench.state.figures import Round, figures
from devtools.bench.state.rounds import Pools, Team

PLAN = ((1, 36.0, 0.08), (4, 12.0, 0.2), (16, 18.0, 0.4))
"""Threads, seconds of all their rounds, seconds of a turn: most rounds where the ratio is taken, longer turns where
doors take longer.
"""
LEAST_ROUNDS = 3
SAY_EVERY = 4
"""Rounds of one thread, which are short."""
BUSY = 0.5
"""Load per processor from which the figures say more about the neighbours."""
_BEGUN = time.monotonic()


class FiguresInvalid(Exception):
    """What was measured is not what was meant to be."""


def measure() -> dict[str, Any]:
    """The figures. Raises `FiguresInvalid`."""
    load = os.getloadavg()[0]
    if load > BUSY * (os.cpu_count() or 1):
        _say(f"this machine is busy (load {load:.1f}): nothing else should run")
    sys.setswitchinterval(SWITCH_INTERVAL)  # as in a chat worker, whose database threads these are
    with seeds.unhurried():
        pools = _seed()
        measured = {threads: _rounds(threads, seconds, lasts, pools) for threads, seconds, lasts in PLAN}
    _demand_hints(sum(one.doors for lengths in measured.values() for rounds in lengths.values() for one in rounds))
    return {**figures(measured), "load_before": round(load, 2)}


def _seed() -> Pools:
    pools = {}
    with seeds.without_indexes():
        for length, chats in seeds.CHATS.items():
            _say(f"seeding {chats:,} chats of {length:,} messages …")
            pools[length] = seeds.seed(length)
        _say("indexing them …")
    seeds.settle()
    return pools


def _rounds(threads: int, seconds: float, turn_lasts: float, pools: Pools) -> dict[int, list[Round]]:
    """Length of history → as many rounds as fit into `seconds`, after one to warm up."""
    measured: dict[int, list[Round]] = {length: [] for length in pools}
    number, begun = 0, time.monotonic()
    with Team(threads, pools, turn_lasts) as team:
        while number <= LEAST_ROUNDS or time.monotonic() < begun + seconds:
            if threads > 1 or number % SAY_EVERY == 0:
                _say(f"threads: {threads}, round {number} …")
            seeds.sweep()
            for length in _rotated(list(pools), number):
                measured[length].append(team.round(length, bare_first=number % 2 == 0))
            number += 1
    return {length: rounds[1:] for length, rounds in measured.items()}


def _rotated(lengths: list[int], number: int) -> list[int]:
    first = number % len(lengths)
    return lengths[first:] + lengths[:first]


def _demand_hints(doors: int) -> None:
    """A hint that fails is skipped, which is quick: such figures would flatter."""
    statistics: Any = redis.Redis.from_url(settings.CHATD_REDIS_URL).info("commandstats")
    published = statistics.get("cmdstat_publish", {}).get("calls", 0)
    if published < doors:
        raise FiguresInvalid(f"{doors} doors were opened, but {published} hints reached Redis")


def _say(what: str) -> None:
    print(f"{time.monotonic() - _BEGUN:4.0f} s  {what}", flush=True)
