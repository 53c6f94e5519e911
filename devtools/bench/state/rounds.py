"""A number of threads at work, in turns: the bare minimum, `commit_step` alone, and the whole cycle.

Each thread has database connections and chats of its own; one chat serialises by design, so threads that share one
would measure their waiting. The turns alternate within each round, over all lengths of history, because the machine's
speed changes by the second: only what was measured close together is compared, so turns are short.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import TypeVar

from django.db import connections

from devtools.bench.state.doors import CYCLE, Act, BareMinimum, commit_step
from devtools.bench.state.figures import Round, Turn
from devtools.bench.state.seeds import Subject

TOGETHER_WITHIN = 60.0
"""Seconds that a thread waits for the others: longer than a statement may take."""

R = TypeVar("R")
Pools = Mapping[int, Sequence[Subject]]
"""Messages in the history → chats."""


class Team:
    """`size` threads. Use as a context manager: at its end threads and connections are gone."""

    def __init__(self, size: int, pools: Pools, turn_lasts: float) -> None:
        """`turn_lasts`: seconds; a cycle that has begun is completed."""
        self.size, self._turn_lasts = size, turn_lasts
        self._shares = {length: [cycle(pool[seat::size]) for seat in range(size)] for length, pool in pools.items()}
        self._bare = [BareMinimum() for _ in range(size)]
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="measure")
        self._together = threading.Barrier(size)

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._all(lambda seat: connections.close_all())
        self._together.abort()  # an interrupt may have come between the threads
        self._threads.shutdown()
        for bare in self._bare:
            bare.close()

    def round(self, length: int, *, bare_first: bool) -> Round:
        """One turn of each kind on chats with histories of that length."""
        turns: dict[str, Turn] = {}
        for name in ("bare", "commit_step") if bare_first else ("commit_step", "bare"):
            acts = [[(name, bare if name == "bare" else commit_step)] for bare in self._bare]
            turns[name] = self._turn(length, acts)
        return Round(**turns, cycle=self._turn(length, [CYCLE] * self.size))

    def _turn(self, length: int, acts: Sequence[Sequence[tuple[str, Act]]]) -> Turn:
        """Every thread repeats its acts, on one chat of its share after the other."""
        shares = self._shares[length]
        return Turn.together(self._all(lambda seat: _repeat(acts[seat], shares[seat], self._turn_lasts)))

    def _all(self, work: Callable[[int], R]) -> list[R]:
        """`work(seat)` in every thread at the same time; the results by seat."""

        def seated(seat: int) -> R:
            self._together.wait(TOGETHER_WITHIN)  # so that no thread takes two of the seats
            return work(seat)

        return list(self._threads.map(seated, range(self.size)))


def _repeat(acts: Sequence[tuple[str, Act]], subjects: Iterator[Subject], lasts: float) -> Turn:
    seconds: dict[str, list[float]] = {name: [] for name, _ in acts}
    begun = now = time.perf_counter()
    while now < begun + lasts:
        subject = next(subjects)
        for name, act in acts:
            act(subject)
            before, now = now, time.perf_counter()
            seconds[name].append(now - before)
    return Turn(seconds, sum(map(len, seconds.values())) / (now - begun))
