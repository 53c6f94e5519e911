"""A long piece of work, done batch by batch with pauses: what others do in the database comes between."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chat.rows.batch import Nominee

BATCH = 100
"""Families of one transaction: some 50 ms in which their rows are locked, a tenth of that in most cases."""
PAUSE = 0.5
"""How long to pause after a batch, in lengths of that batch: two thirds of a core, at most, are taken."""

Nominate = Callable[[Nominee | None, int], list[Nominee]]
"""(after, limit) → the next ones."""


@dataclass(frozen=True)
class Pace:
    """How fast a run goes."""

    batch: int = BATCH
    pause: float = PAUSE
    wait: Callable[[float], None] = time.sleep

    def batches(self, nominate: Nominate, room: Callable[[], int | None]) -> Iterator[list[Nominee]]:
        """What is nominated, in order, each once; `room`: how many families more, None for no limit."""
        after: Nominee | None = None
        while (left := room()) is None or left > 0:
            begun = time.monotonic()
            limit = self.batch if left is None else min(self.batch, left)
            nominees = nominate(after, limit)
            if not nominees:
                return
            yield nominees
            if len(nominees) < limit:
                return
            after = nominees[-1]
            if self.pause:
                self.wait(self.pause * (time.monotonic() - begun))
