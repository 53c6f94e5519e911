"""Transactions of a runner that outlast an outage of the database.

A commit that fails may have happened (of those that fail while Postgres crashes, nearly half have). So it is tried
again as it stands: if the first one did commit, the fence no longer holds, the retry ends as `StaleFence`, and the
runner reads what is there. An answer that was paid for is not generated again because a connection broke.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from chat.outage import DATABASE_AWAY
from chatworker import metrics

R = TypeVar("R")
logger = structlog.get_logger(__name__)

RETRY_FROM, RETRY_UP_TO = 0.1, 5.0
"""Seconds between tries, doubling."""


class Database(Protocol):
    async def run(self, function: Callable[[], R]) -> R: ...


async def commit(database: Database, transaction: Callable[[], R], *, what: str) -> R:
    """The result of `transaction` once the database took it. Raises what it refuses (`StaleFence`, …) at once."""
    delay = RETRY_FROM
    while True:
        try:
            return await database.run(transaction)
        except DATABASE_AWAY as error:
            metrics.COMMIT_RETRIES.inc()
            logger.warning("commit.retried", what=what, error=repr(error).strip(), retry_after=delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, RETRY_UP_TO)
