"""What processes hold at rest, and whether it grows from one rest to another. Pure.

A process is compared with the least that any of its role ever held at rest. The first rest of a process says nothing
of that least, because its pools are not full yet; unless it follows a warm-up, in which all had something to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ROOM = {"descriptors": 40, "threads": 20, "connections": 20}
"""What may be held more than at any rest before: pools fill, caches warm."""
SLOTS = 64
"""Threads in the pool of a chat worker, which a burst of wake-ups fills and nothing empties."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process holds; `counts` by the names of ROOM."""

    role: str
    pid: int
    counts: Mapping[str, int]


class Growth:
    def __init__(self) -> None:
        self._least: dict[str, Mapping[str, int]] = {}
        self._met: set[int] = set()

    def look(self, holdings: Iterable[Holding], *, is_warm: bool = False) -> list[str]:
        """What has grown since earlier rests, in words; remembers what is held now. `is_warm`: after a warm-up."""
        found, pids = [], set()
        for held in holdings:
            pids.add(held.pid)
            least = self._least.get(held.role, held.counts)
            for what, count in held.counts.items():
                if count > least[what] + _room(held.role, what):
                    found.append(f"{held.role} (pid {held.pid}) had {least[what]} {what} at rest and has {count}")
            if is_warm or held.pid in self._met:
                self._least[held.role] = {what: min(count, least[what]) for what, count in held.counts.items()}
        self._met = pids
        return found


def _room(role: str, what: str) -> int:
    return SLOTS if what == "threads" and role.startswith("chat-worker") else ROOM[what]
