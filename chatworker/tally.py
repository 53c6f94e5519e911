"""Tells the others what this worker counted: every few seconds, the difference of its metrics is added to a minute.

Nothing is counted twice for it: the figures are those of `/metrics`. What cannot be told stays, and goes with the next.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from chat.execution import Transition
from chat.metrics import TRANSITIONS
from chat.minutes import FAILURES, FIRST_PART, KEPT, RETRIES, TURNS, minute_key
from chatworker import metrics

TELL_EVERY = 5.0
"""Seconds: as late as the last point of a plot may be."""


class Tally:
    def __init__(self, client: Any, *, clock: Callable[[], float] = time.time) -> None:
        """`client`: of `redis.asyncio`; `clock`: seconds since 1970."""
        self._client = client
        self._clock = clock
        self._told = counted()

    async def tell(self) -> None:
        """Raises `RedisError`, `OSError`; then nothing is forgotten."""
        now = counted()
        fresh = now - self._told
        if not fresh:
            return
        key = minute_key(int(self._clock() // 60))
        async with self._client.pipeline(transaction=True) as pipeline:
            for name, more in fresh.items():
                pipeline.hincrby(key, name, more)
            pipeline.expire(key, KEPT)
            await pipeline.execute()
        self._told = now


def counted() -> Counter[str]:
    """All that this process has counted so far, by the names of `chat.minutes`."""
    figures: Counter[str] = Counter()
    for sample in _samples(TRANSITIONS, "_total"):
        if name := _TOLD.get(sample.labels["transition"]):
            figures[name] += int(sample.value)
    for sample in _samples(metrics.GENERATION_RETRIES, "_total"):
        figures[RETRIES] += int(sample.value)
    lower = 0
    for sample in _samples(metrics.FIRST_PART, "_bucket"):  # cumulative, by rising ends
        figures[f"{FIRST_PART}{float(sample.labels['le'])}"] = int(sample.value) - lower
        lower = int(sample.value)
    return figures


_TOLD = {str(Transition.FINISH_TURN): TURNS, str(Transition.FINISH_ERROR): FAILURES}


def _samples(metric: Any, suffix: str) -> list[Any]:
    return [sample for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix)]
