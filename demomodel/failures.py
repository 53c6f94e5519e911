"""Counts how often a request was made that is scripted to fail a number of times.

Bounded memory: the request not seen for longest is forgotten first, and would fail anew. Knows no requests,
only their digests.
"""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 10_000


class FailureCounts:
    """How many failures each request has had."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._failed: OrderedDict[bytes, int] = OrderedDict()

    def fails_again(self, identity: bytes, times: int | None) -> bool:
        """Whether this request is still to fail; a failure is counted by asking."""
        if times is None:
            return True
        failed = self._failed.pop(identity, 0)
        fails = failed < times
        self._failed[identity] = failed + fails
        if len(self._failed) > self._remembered:
            self._failed.popitem(last=False)
        return fails
