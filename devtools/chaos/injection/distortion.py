"""Hints and wake-ups as a bad network would deliver them: lost, twice, late, and so in another order.

    CHATD_CHAOS_HINTS="kinds=hint,wake-up; drop=0.1; double=0.1; delay=0-500; seed=3"

`delay` in milliseconds, from and to, for each publication on its own: with a wide range they overtake each other.
Kinds: `hint` (what a chat's row says now), `wake-up` (what the door asks for) and `sweep` (the wake-ups of the sweep,
which are all that is left when the others are dropped, so they are spared unless named).
"""

import heapq
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from chat import crash, hints
from devtools.chaos.injection.spec import Spec, share, words_in

KINDS = ("hint", "wake-up", "sweep")
SWEEP = "chatworker.acquisition"
"""The module whose wake-ups are the sweep's."""


@dataclass(frozen=True, slots=True)
class Bad:
    """How bad the network is; all shares from 0 to 1, delays in seconds."""

    kinds: frozenset[str] = frozenset({"hint", "wake-up"})
    drop: float = 0.0
    double: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


def bad_in(text: str) -> Bad:
    """Raises `ValueError`."""
    values: dict[str, Any] = {}
    for name, value in words_in(text):
        if name in ("drop", "double"):
            values[name] = share(name, value)
        elif name == "seed":
            values[name] = int(value)
        elif name == "delay":
            least, _, most = value.partition("-")
            values[name] = float(least) / 1000, float(most or least) / 1000
        elif name == "kinds" and {kind.strip() for kind in value.split(",")} <= set(KINDS):
            values[name] = frozenset(kind.strip() for kind in value.split(","))
        else:
            raise ValueError(f"{name}={value}: drop, double, delay, seed or kinds ({', '.join(KINDS)})")
    return Bad(**values)


class Distortion:
    """Stands before the two functions that publish. Safe to share between threads."""

    def __init__(self, current: Callable[[], Bad]) -> None:
        self._current = current
        self._seed: int | None = None
        self._random = random.Random()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()
        self._news = threading.Condition()
        self._postman: threading.Thread | None = None
        self._ended = False
        self.counts: Counter[str] = Counter()

    def publish(self, kind: str, send: Callable[[], object]) -> None:
        bad = self._current()
        with self._news:
            if self._seed != bad.seed:
                self._seed = bad.seed
                self._random.seed(bad.seed)
            fallen, times = self._random.random(), [self._random.uniform(*bad.delay) for _ in range(2)]
            self.counts[f"{kind} sent"] += 1
        if kind not in bad.kinds:
            send()
            return
        if fallen < bad.drop:
            self._note(kind, "dropped")
            return
        copies = 2 if fallen < bad.drop + bad.double else 1
        if copies == 2:
            self._note(kind, "doubled")
        for delay in times[:copies]:
            if not delay:
                send()
                continue
            self._note(kind, "delayed")
            self._post(time.monotonic() + delay, send)

    def close(self) -> None:
        """What still waits is lost; the thread has ended on return."""
        with self._news:
            self._ended = True
            self._news.notify()
        if self._postman is not None:
            self._postman.join()

    def _note(self, kind: str, what: str) -> None:
        with self._news:
            self.counts[f"{kind} {what}"] += 1
        if crash.armed is not None:
            crash.armed.record(f"hints.{what}", kind=kind)

    def _post(self, at: float, send: Callable[[], object]) -> None:
        with self._news:
            heapq.heappush(self._waiting, (at, next(self._number), send))
            if self._postman is None:
                self._postman = threading.Thread(target=self._deliver, name="distortion", daemon=True)
                self._postman.start()
            self._news.notify()

    def _deliver(self) -> None:
        while True:
            with self._news:
                while not self._ended and (not self._waiting or self._waiting[0][0] > time.monotonic()):
                    self._news.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
                if self._ended:
                    return
                _, _, send = heapq.heappop(self._waiting)
            send()


@contextmanager
def distorted(distortion: Distortion) -> Iterator[Distortion]:
    """`chat.hints` publishes through `distortion` inside, in this process."""
    update, wake_up = hints.publish_update, hints.publish_wake_up

    def publish_update(chat: Any, state: Any) -> None:
        distortion.publish("hint", lambda: update(chat, state))

    def publish_wake_up(chat_id: Any) -> None:
        kind = "sweep" if sys._getframe(1).f_globals.get("__name__") == SWEEP else "wake-up"
        distortion.publish(kind, lambda: wake_up(chat_id))

    hints.publish_update, hints.publish_wake_up = publish_update, publish_wake_up
    try:
        yield distortion
    finally:
        hints.publish_update, hints.publish_wake_up = update, wake_up
        distortion.close()


_until_the_end = ExitStack()
"""Holds what was installed: let go, it would put everything back."""


def install() -> None:
    """For the rest of this process's life, as the environment says."""
    _until_the_end.enter_context(distorted(Distortion(Spec("hints", bad_in).current)))
