"""What a blow is a reason for, and until when: windows of time. Pure.

A worker that was killed, or told to end, is gone for good: whatever others take from it afterwards, they may. One that
was frozen, or whose commits were left in doubt, is as good as any other once it has renewed its leases. And a database
that is away for longer than leases can last lets all of them expire, whoever holds them.
"""

import math
from collections.abc import Iterable, Sequence

from devtools.chaos.blows import Blow, Effect

Window = tuple[float, float]
"""From and until, in seconds since the epoch; both belong to it."""

OVER_AFTER = 5.0
"""Seconds beyond a lease's length in which all is as before."""
MARGIN, OWN_TICK_AFTER = 2.0, 1.3
"""Of a chat worker: how many seconds early it stops, a fourth of a lease at most, and after how many of the heartbeats'
intervals it beats unasked."""
HEARTBEATS = 4
"""In the length of a lease, in all stacks of this suite."""
SLACK = 1.0
"""Seconds for the worker to find out that the database is back, and to renew."""


def survived_outage(lease_ttl: float) -> float:
    """Seconds that the database may be away and every lease of a sound worker is renewed in time for certain: also of
    one whose next heartbeat was due at the moment it went away.
    """
    return lease_ttl - min(MARGIN, lease_ttl / 4) - OWN_TICK_AFTER * lease_ttl / HEARTBEATS - SLACK


def outages(blows: Iterable[Blow], lease_ttl: float) -> list[Window]:
    """Those of the database that leases need not survive, with what follows from them."""
    return [
        (blow.at, blow.until + lease_ttl + OVER_AFTER)
        for blow in blows
        if blow.effect is Effect.AWAY and blow.until - blow.at > survived_outage(lease_ttl)
    ]


def on_worker(worker_id: str | None, blows: Iterable[Blow], lease_ttl: float) -> list[Window]:
    """In which others may have a reason to take this worker's chats."""
    for_ever = (Effect.KILLED, Effect.TOLD)
    return [
        (blow.at, math.inf if blow.effect in for_ever else blow.until + lease_ttl + OVER_AFTER)
        for blow in blows
        if worker_id in blow.worker_ids
    ]


def is_in(moment: float, windows: Sequence[Window]) -> bool:
    return any(begin <= moment <= end for begin, end in windows)
