"""A long piece of work, done batch by batch with pauses: what others do in the database comes between.

A batch that turns out to be too much for one statement is nominated again, half as big; the next ones grow back slowly.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import OperationalError
from psycopg.errors import QueryCanceled

from chat.rows.batch import Nominee

logger = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 100
"""Families of one transaction: some 50 ms in which their rows are locked, a tenth of that in most cases."""
PAUSE = 0.5
"""How long to pause after a batch, in lengths of that batch: two thirds of a core, at most, are taken."""

Nominate = Callable[[Nominee | None, int], list[Nominee]]
"""(after, limit) → the next ones."""


@dataclass
class Batch:
    nominees: list[Nominee]
    too_much: bool = False
    """Nothing of it was done, and half of it comes next."""

    @property
    def root_ids(self) -> list[UUID]:
        return [nominee.root_id for nominee in self.nominees]

    def attempt(self, transaction: Callable[[], T]) -> T | None:
        """What the transaction returns; None where it was too much for the time that a statement has."""
        try:
            return transaction()
        except OperationalError as error:
            if len(self.nominees) == 1 or not isinstance(error.__cause__, QueryCanceled):
                raise
            logger.info("retention.batch_halved", families=len(self.nominees))
            self.too_much = True
            return None


@dataclass(frozen=True)
class Pace:
    """How fast a run goes."""

    batch: int = BATCH
    pause: float = PAUSE
    wait: Callable[[float], None] = time.sleep

    def batches(self, nominate: Nominate, room: Callable[[], int | None]) -> Iterator[Batch]:
        """What is nominated, in order, each once unless it was too much; `room`: how many families more, None: any."""
        after: Nominee | None = None
        size = self.batch
        while (left := room()) is None or left > 0:
            begun = time.monotonic()
            limit = size if left is None else min(size, left)
            batch = Batch(nominate(after, limit))
            if not batch.nominees:
                return
            yield batch
            if batch.too_much:
                size = max(1, len(batch.nominees) // 2)
            elif len(batch.nominees) < limit:
                return
            else:
                size = min(self.batch, size + 1)
                after = batch.nominees[-1]
            if self.pause:
                self.wait(self.pause * (time.monotonic() - begun))
