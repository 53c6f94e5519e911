"""What chat workers did in each of the last minutes, kept in Redis: for plots, never for decisions.

A minute is one hash of counters, to which each worker adds every few seconds what it has counted since
(`chatworker/tally.py`). So the start page of the admin sees all workers, whatever their number, without a query. A
Redis that forgets costs plots their past.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 2 * 3600
"""Seconds that a minute is remembered."""
TURNS, FAILURES, RETRIES = "turns", "failures", "retries"
FIRST_PART = "first_part:"
"""Followed by the upper end in seconds: how many first parts took as long, and longer than the next lower end."""


@dataclass(frozen=True, slots=True)
class Minute:
    turns: int = 0
    """Ended well."""
    failures: int = 0
    """Turns that ended with an error."""
    retries: int = 0
    first_parts: Mapping[float, int] = field(default_factory=dict)
    """How many, by the upper end of their class in seconds; `inf` for the last."""


def minute_key(minute: int) -> str:
    """`minute`: whole minutes since 1970."""
    return f"chatd:minute:{minute}"


def read_minutes(client: Any, now: float, count: int) -> list[Minute]:
    """The last `count` minutes, the current one last. Raises `RedisError`, `OSError`."""
    last = int(now // 60)
    with client.pipeline(transaction=False) as pipeline:
        for minute in range(last - count + 1, last + 1):
            pipeline.hgetall(minute_key(minute))
        return [_minute(counters) for counters in pipeline.execute()]


def _minute(counters: Mapping[bytes, bytes]) -> Minute:
    known = {name.decode(): int(value) for name, value in counters.items()}
    return Minute(
        turns=known.get(TURNS, 0),
        failures=known.get(FAILURES, 0),
        retries=known.get(RETRIES, 0),
        first_parts={
            float(name.removeprefix(FIRST_PART)): value for name, value in known.items() if name.startswith(FIRST_PART)
        },
    )


def quantile(classes: Mapping[float, int], share: float) -> float | None:
    """Seconds that `share` (0 to 1) of the values do not exceed, linear within a class; None where there are none.

    As Prometheus' `histogram_quantile`: a value in the endless class counts as the upper end of the one before.
    """
    total = sum(classes.values())
    if not total:
        return None
    below, lower = 0, 0.0
    for upper in sorted(classes):
        if below + classes[upper] >= share * total:
            if upper == float("inf"):
                break
            return lower + (upper - lower) * (share * total - below) / classes[upper]
        below, lower = below + classes[upper], upper
    return lower
