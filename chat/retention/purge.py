"""Archived chats are deleted for good once their retention is over, with messages, queue and leases, family by family.

The retention is counted from the last change of the row, which a trigger keeps; the archiving itself is one. A row that
the state machine does not know is never deleted: it waits for `manage.py reconcile_chats`. What is too much for the
time that a statement has is deleted in smaller batches, down to a single family, which may take as long as it takes.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from math import inf

import structlog

from chat import metrics
from chat.bulk import delete_families
from chat.retention import PER_RUN
from chat.retention.batches import Pace
from chat.retention.policy import current_policy, cutoff_of
from chat.rows import batch
from chat.rows.batch import Member
from chat.rows.clock import database_now
from chat.task_runs import Run, exclusive_run

logger = structlog.get_logger(__name__)

TASK = "purge"
Progress = Callable[[int], None]
"""Told how many more chats are done."""


def purge(
    *,
    days: int | None = None,
    limit: int | None = PER_RUN,
    pace: Pace | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> dict[str, int]:
    """One run: delete families, at most `limit` chats (None: all that are due); none is divided.

    It ends before a family that does not fit, unless that is its first: a family bigger than the limit goes alone.
    `days`: instead of the policy's. `now`: instead of the database's clock. What it did: chats, families, messages,
    families skipped. Raises `chat.task_runs.UnderWay` while another run is.
    """
    cutoff = cutoff_of(current_policy().retention_days if days is None else days, now or database_now())
    did = {"chats": 0, "families": 0, "messages": 0, "skipped": 0}
    with exclusive_run(TASK) as run:
        run.did = did
        if cutoff is None:
            return did
        _purge(cutoff, limit, pace or Pace(), run, progress)
    if did["chats"]:
        logger.info("retention.purged", cutoff=cutoff.isoformat(), **did)
    return did


def _purge(cutoff: datetime, limit: int | None, pace: Pace, run: Run, progress: Progress | None) -> None:
    did = run.did

    def is_due(member: Member) -> bool:
        return member.updated_at < cutoff

    def room() -> int | None:
        return None if limit is None else limit - did["chats"] - did["skipped"]

    for nominated in pace.batches(lambda after, most: batch.outdated(cutoff, after=after, limit=most), room):
        fits = inf if (left := room()) is None else left
        is_first = not did["chats"]
        delete = partial(delete_families, nominated.root_ids, due=is_due, room=fits, whatever_its_size=is_first)
        if (gone := nominated.attempt(delete)) is None:
            continue
        chats = sum(map(len, gone.families))
        did["chats"] += chats
        did["families"] += len(gone.families)
        did["messages"] += gone.messages
        did["skipped"] += gone.skipped
        run.tell()
        metrics.PURGED.labels("chats").inc(chats)
        metrics.PURGED.labels("messages").inc(gone.messages)
        if progress:
            progress(chats)
        if gone.full:
            return
