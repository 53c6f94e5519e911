"""Chats that nobody touches any more are archived, with their families. Nothing is lost, each can be brought back.

A change is activity: a message, an edit, a new title, an unarchiving. A chat that is at work, or waits for its client,
is never archived. A second run finds nothing but what the first one skipped because somebody held it.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from chat import metrics
from chat.bulk import archive_families
from chat.retention import PER_RUN, digest
from chat.retention.batches import Pace
from chat.retention.policy import current_policy, cutoff_of
from chat.rows import batch
from chat.rows.batch import Member
from chat.rows.clock import database_now
from chat.task_runs import Run, exclusive_run

logger = structlog.get_logger(__name__)

TASK = "archive_inactive_chats"
Progress = Callable[[int], None]
"""Told how many more chats are done."""


def archive_inactive_chats(
    *,
    days: int | None = None,
    limit: int | None = PER_RUN,
    send_digest: bool | None = None,
    pace: Pace | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> dict[str, int]:
    """One run: archive at most `limit` families (None: all that are due), and tell their owners.

    `days`, `send_digest`: instead of the policy's. `now`: instead of the database's clock. What it did: chats,
    families, families skipped, digests sent. Raises `chat.task_runs.UnderWay` while another run is.
    """
    policy = current_policy()
    cutoff = cutoff_of(policy.auto_archive_days if days is None else days, now or database_now())
    archived: dict[Any, list[str]] = {}  # owner → titles of the roots
    did = {"chats": 0, "families": 0, "skipped": 0, "digests": 0}
    with exclusive_run(TASK) as run:
        run.did = did
        if cutoff is None:
            return did
        try:
            _archive(cutoff, limit, pace or Pace(), run, archived, progress)
        finally:  # what is archived stays so, also where a later batch failed
            if policy.archive_digest if send_digest is None else send_digest:
                did["digests"] = digest.send_digests(archived, cutoff)
    if did["chats"]:
        logger.info("retention.archived", cutoff=cutoff.isoformat(), **did)
    return did


def _archive(
    cutoff: datetime,
    limit: int | None,
    pace: Pace,
    run: Run,
    archived: dict[Any, list[str]],
    progress: Progress | None,
) -> None:
    did = run.did

    def is_due(member: Member) -> bool:
        return member.pin_order <= 0 and member.updated_at < cutoff

    def room() -> int | None:
        return None if limit is None else limit - did["families"] - did["skipped"]

    for nominated in pace.batches(lambda after, most: batch.inactive(cutoff, after=after, limit=most), room):
        moved = nominated.attempt(partial(archive_families, nominated.root_ids, due=is_due))
        if moved is None:
            continue
        families, chats = moved
        for family in families:
            archived.setdefault(family[0].owner_id, []).append(family[0].title)
        did["chats"] += chats
        did["families"] += len(families)
        did["skipped"] += len(nominated.nominees) - len(families)
        run.tell()
        metrics.ARCHIVED.inc(chats)
        if progress:
            progress(chats)
