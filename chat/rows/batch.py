"""Many families at once: find those that are due, lock what nobody holds, archive or delete in one statement.

Nothing here waits for a chat that somebody works with: its family is skipped, and found again in the next run. What is
found without a lock is a nomination; the caller looks again at the rows that it got locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from chat.models import ChatMessage, QueuedMessage, triggers
from chat.rows.tables import CHAT, require_transaction

_MESSAGE, _QUEUED = ChatMessage._meta.db_table, QueuedMessage._meta.db_table


@dataclass(slots=True)
class Member:
    """A locked chat: what decides about it, and what a hint says of it."""

    id: UUID
    root_id: UUID | None
    owner_id: Any
    title: str
    status: str
    archived: bool
    pin_order: int
    updated_at: datetime
    snapshot_version: int
    history_version: int
    queue_version: int
    retry_state_version: int
    generation_attempt: int
    worker_id: UUID | None
    runner_id: UUID | None
    has_queue: bool = False

    @property
    def pk(self) -> UUID:
        return self.id


Family = list[Member]
"""The root first."""
_COLUMNS = ", ".join(name for name in Member.__dataclass_fields__ if name != "has_queue")


class Nominee(NamedTuple):
    """A root whose family is due, by what was there a moment ago."""

    updated_at: datetime
    root_id: UUID


_HAS_QUEUE = f"EXISTS (SELECT FROM {_QUEUED} queued WHERE queued.chat_id = {{chat}}.id)"
_AT_REST = f"({{chat}}.status = 'error' OR {{chat}}.status = 'waiting' AND NOT {_HAS_QUEUE})"  # as the table has it
_INACTIVE = f"""root.root_id IS NULL AND NOT root.archived AND root.pin_order <= 0
    AND root.status IN ('waiting', 'error') AND {_AT_REST.format(chat="root")} AND root.updated_at < %(cutoff)s
    AND NOT EXISTS (SELECT FROM {CHAT.name} member WHERE member.root_id = root.id AND NOT member.archived
        AND (member.pin_order > 0 OR member.updated_at >= %(cutoff)s OR NOT {_AT_REST.format(chat="member")}))"""
_OUTDATED = f"""root.root_id IS NULL AND root.archived AND root.status IN ('waiting', 'error')
    AND {_AT_REST.format(chat="root")} AND root.updated_at < %(cutoff)s
    AND NOT EXISTS (SELECT FROM {CHAT.name} member WHERE member.root_id = root.id
        AND (NOT member.archived OR member.updated_at >= %(cutoff)s OR NOT {_AT_REST.format(chat="member")}))"""


def inactive(cutoff: datetime, *, after: Nominee | None, limit: int) -> list[Nominee]:
    """Families without activity since `cutoff`, none of them pinned or at work; the longest without it first."""
    return _nominees(_INACTIVE, cutoff, after, limit)


def outdated(cutoff: datetime, *, after: Nominee | None, limit: int) -> list[Nominee]:
    """Families that were archived before `cutoff` and not touched since, the first of them first."""
    return _nominees(_OUTDATED, cutoff, after, limit)


def count_inactive(cutoff: datetime) -> tuple[int, int]:
    """Families, and chats in them. Reads all of them, so it takes its time."""
    return _count(_INACTIVE, cutoff, f"{CHAT.name}.root_id = due.id AND NOT {CHAT.name}.archived")


def count_outdated(cutoff: datetime) -> tuple[int, int]:
    """Families, and chats in them. Reads all of them, so it takes its time."""
    return _count(_OUTDATED, cutoff, f"{CHAT.name}.root_id = due.id")


def nomination(due: str) -> str:
    """The statement behind `inactive` ("inactive") and `outdated` ("outdated"), for whoever explains its plan."""
    return _nomination({"inactive": _INACTIVE, "outdated": _OUTDATED}[due], first=True)


def _nomination(due: str, *, first: bool) -> str:
    # From where the last batch ended: what it archived or deleted stays in the index until a vacuum comes by.
    further = "" if first else "AND (root.updated_at, root.id) > (%(updated_at)s, %(id)s)"
    return f"""SELECT root.updated_at, root.id FROM {CHAT.name} root WHERE {due} {further}
        ORDER BY root.updated_at, root.id LIMIT %(limit)s"""


def _nominees(due: str, cutoff: datetime, after: Nominee | None, limit: int) -> list[Nominee]:
    parameters: dict[str, Any] = {"cutoff": cutoff, "limit": limit}
    if after is not None:
        parameters |= {"updated_at": after.updated_at, "id": after.root_id}
    with connection.cursor() as cursor:
        cursor.execute(_nomination(due, first=after is None), parameters)
        return [Nominee(*row) for row in cursor.fetchall()]


def _count(due: str, cutoff: datetime, is_member: str) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH due AS MATERIALIZED (SELECT root.id FROM {CHAT.name} root WHERE {due})
                SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM due, {CHAT.name} WHERE {is_member})""",
            {"cutoff": cutoff},
        )
        families, below = cursor.fetchone()
    return families, families + below


def lock_families(root_ids: Sequence[UUID]) -> list[Family]:
    """Those of these families of which nobody else holds a member, locked whole, in the order of `root_ids`."""
    require_transaction()
    roots = _locked("id = ANY(%s) AND root_id IS NULL ORDER BY id", root_ids)
    families = {root.id: [root] for root in roots}
    if not families:
        return []
    for member in _locked("root_id = ANY(%s) ORDER BY root_id, id", list(families)):
        families[member.root_id or member.id].append(member)
    # Nobody joins or leaves a family while its root is locked; only now, because a lock may have been waited for.
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT root_id, count(*) FROM {CHAT.name} WHERE root_id = ANY(%s) GROUP BY root_id", [list(families)]
        )
        below = dict(cursor.fetchall())
        cursor.execute(
            f"SELECT DISTINCT chat_id FROM {_QUEUED} WHERE chat_id = ANY(%s)",
            [[member.id for family in families.values() for member in family]],
        )
        with_queue = {row[0] for row in cursor.fetchall()}
    whole = [families[root_id] for root_id in root_ids if len(families.get(root_id, ())) == below.get(root_id, 0) + 1]
    for family in whole:
        for member in family:
            member.has_queue = member.id in with_queue
    return whole


def _locked(condition: str, ids: Sequence[UUID]) -> list[Member]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM {CHAT.name} WHERE {condition} FOR UPDATE SKIP LOCKED", [list(ids)])
        return [Member(*row) for row in cursor.fetchall()]


def archive(members: Sequence[Member]) -> None:
    """Archive locked chats in one statement; each advances its snapshot once."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE {CHAT.name} SET snapshot_version = snapshot_version + 1, archived = true, pin_order = 0
                WHERE id = ANY(%s)""",
            [[member.id for member in members]],
        )
    for member in members:
        member.snapshot_version += 1
        member.archived, member.pin_order = True, 0


def lift_statement_timeout() -> None:
    """Until this transaction ends: for what cannot be made smaller."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")


_GUARDED: list[tuple[Any, Any]] = [
    (ChatMessage, triggers.message_delete_guard),
    (QueuedMessage, triggers.queue_delete_versions),
]
_GUARDS = "{" + ",".join(trigger.get_pgid(model) for model, trigger in _GUARDED) + "}"


def delete(members: Sequence[Member]) -> int:
    """Delete locked chats in one statement; the number of messages that went with them, by the database's cascade.

    The guards of messages and queue look at a chat that is gone already, and let each row go. Not asked, which is
    allowed for this one statement only, they save half of its time.
    """
    require_transaction()
    ids = [member.id for member in members]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {_MESSAGE} WHERE chat_id = ANY(%s)", [ids])
        messages = cursor.fetchone()[0]
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [_GUARDS])
        cursor.execute(f"DELETE FROM {CHAT.name} WHERE id = ANY(%s)", [ids])
        cursor.execute("SELECT set_config('pgtrigger.ignore', '{}', true)")
    return int(messages)
