"""The door for many families at once: archive or delete them in one transaction, as `chat_update` would one by one.

One lock (of what nobody else holds), one look at the table of transitions for every chat, one statement, and after the
commit one round of hints. What became active, was pinned or went away between nomination and lock is left alone, and so
is the family of a chat that somebody holds: nobody waits for us, and we wait for nobody. An exception undoes the whole
batch and publishes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from uuid import UUID

import structlog
from django.db import transaction

from chat import hints, metrics
from chat.crash import crash_point
from chat.execution import State, Transition, arrivals, classify
from chat.rows import batch
from chat.rows.batch import Family, Member

logger = structlog.get_logger(__name__)

ARCHIVED = frozenset({State.XW, State.XE0, State.XE1})
"""Only an archived chat can be deleted: then nobody works on it."""
Due = Callable[[Member], bool]
"""Whether a locked chat is still what it was nominated for."""


def archive_families(root_ids: Sequence[UUID], *, due: Due) -> tuple[list[Family], int]:
    """Archive the families that are still due in all their members. A single one may take as long as it takes.

    Those that were archived, and the number of chats: members that were so already do not count.
    """
    with _transaction(root_ids):
        going = [family for family in batch.lock_families(root_ids) if _may_be_archived(family, due)]
        moved = [(member, _state(member)) for family in going for member in family if not member.archived]
        if moved:
            batch.archive([member for member, _ in moved])
            _announce_archived_on_commit(moved)
        crash_point("archive.commit.before")
    crash_point("archive.commit.after")
    return going, len(moved)


@dataclass(frozen=True, slots=True)
class Deletion:
    """`families`: those that were deleted. `skipped`: how many were looked at and left alone."""

    families: list[Family]
    messages: int
    skipped: int
    full: bool
    """The next family, and what comes after it, was left for want of room."""


def delete_families(
    root_ids: Sequence[UUID], *, due: Due, room: float = inf, whatever_its_size: bool = True
) -> Deletion:
    """Delete the families that are still due in all their members, in order, as long as their chats fit into `room`.

    No family is divided; `whatever_its_size`: the first one may be bigger than the room. A single one may take as long
    as it takes; several, as long as a statement may.
    """
    with _transaction(root_ids):
        going: list[Family] = []
        looked_at, full = len(root_ids), False
        for family in batch.lock_families(root_ids):
            if not all(_state(member) in ARCHIVED and due(member) for member in family):
                continue
            if len(family) > room and (going or not whatever_its_size):
                looked_at, full = root_ids.index(family[0].id), True
                break
            going.append(family)
            room -= len(family)
        gone = [(member, _state(member)) for family in going for member in family]
        messages = batch.delete([member for member, _ in gone]) if gone else 0
        _announce_deleted_on_commit(gone)
        crash_point("purge.commit.before")
    crash_point("purge.commit.after")
    return Deletion(going, messages, looked_at - len(going), full)


@contextmanager
def _transaction(root_ids: Sequence[UUID]) -> Iterator[None]:
    with transaction.atomic():
        if len(root_ids) == 1:
            batch.lift_statement_timeout()
        yield


def _state(member: Member) -> State:
    return classify(member.status, member.archived, member.has_queue)


def _may_be_archived(family: Family, due: Due) -> bool:
    """A member that is archived already stays untouched, as in `set_archived`."""
    if family[0].archived:
        return False
    return all(
        member.archived or (arrivals(Transition.SET_ARCHIVED_TRUE, _state(member)) and due(member)) for member in family
    )


def _announce_archived_on_commit(moved: Sequence[tuple[Member, State]]) -> None:
    def announce() -> None:  # a named function: Django's robust on_commit cannot log a partial
        did = str(Transition.SET_ARCHIVED_TRUE)
        metrics.TRANSITIONS.labels(did).inc(len(moved))
        for member, before in moved:
            logger.info(
                "chat.transition",
                chat_id=str(member.id),
                did=[did],
                before=str(before),
                after=str(_state(member)),
                snapshot_version=member.snapshot_version,
            )
            hints.publish_update(member, _state(member))

    transaction.on_commit(announce, robust=True)


def _announce_deleted_on_commit(gone: Sequence[tuple[Member, State]]) -> None:
    """Streams look at once, and find nothing."""

    def announce() -> None:  # a named function: Django's robust on_commit cannot log a partial
        for member, state in gone:
            member.snapshot_version += 1
            member.history_version = member.snapshot_version
            logger.info("chat.purged", chat_id=str(member.id))
            hints.publish_update(member, state)

    transaction.on_commit(announce, robust=True)
