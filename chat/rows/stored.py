"""What an update reads: the locked row, the queue and the end of the history, whatever their length."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from chat.models import Chat, QueuedMessage
from chat.rows import sql
from chat.rows.tables import CHAT, MESSAGE, QUEUED, require_transaction


class Stored(NamedTuple):
    """What an update needs of a chat's other rows: the queue in order, and (role, parts) of the history's tail."""

    queue: list[QueuedMessage]
    tail: list[tuple[str, Any]]


_TAIL = f"""SELECT json_agg(json_build_array(role, parts) ORDER BY id) FROM {MESSAGE.name}
    WHERE chat_id = wanted.id AND NOT deleted AND id >= (
        SELECT id FROM {MESSAGE.name} WHERE chat_id = wanted.id AND NOT deleted AND role = 'assistant' {{before}}
        ORDER BY id DESC LIMIT 1) {{before}}"""


_QUEUE = f"""SELECT json_agg(q ORDER BY q.position, q.id)
    FROM (SELECT {QUEUED.columns} FROM {QUEUED.name} WHERE chat_id = wanted.id) q"""

_STORED = f"({_QUEUE}), ({_TAIL.format(before='')})"

_LOCK = f"""SELECT {CHAT.columns}, {_STORED},
        (SELECT snapshot_version FROM {CHAT.name} AS seen WHERE seen.id = wanted.id)
    FROM {CHAT.name} AS wanted WHERE id = %s FOR UPDATE OF wanted"""

_READ = f"SELECT id, {_STORED} FROM (SELECT unnest(%s::uuid[]) AS id) AS wanted"


def lock_chat(chat_id: UUID) -> tuple[Chat, Stored] | None:
    """The locked row, its queue and its tail, usually in one statement.

    One that waited for the lock got the row as it is now, but queue and tail as they were when it began. It also read
    the version of then, which every change of a chat moves on: where the two differ, queue and tail are read again.
    """
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(_LOCK, [chat_id])
        row = cursor.fetchone()
    if row is None:
        return None
    *values, queue, tail, seen_version = row
    chat: Chat = CHAT.instance(values)
    is_current = chat.snapshot_version == seen_version
    return chat, _stored(queue, tail) if is_current else stored_of_all([chat_id])[chat_id]


def stored_of_all(chat_ids: Sequence[UUID]) -> dict[UUID, Stored]:
    """Queue and tail of locked chats; not to be part of the statement that may have waited for the locks."""
    with sql.cursor() as cursor:
        cursor.execute(_READ, [list(chat_ids)])
        return {chat_id: _stored(queue, tail) for chat_id, queue, tail in cursor.fetchall()}


def _stored(queue: list[dict[str, Any]] | None, tail: list[tuple[str, Any]] | None) -> Stored:
    return Stored([_queued(row) for row in queue or ()], [(role, parts) for role, parts in tail or ()])


def _queued(row: dict[str, Any]) -> QueuedMessage:
    row["created_at"] = datetime.fromisoformat(row["created_at"])
    queued: QueuedMessage = QueuedMessage.from_db("default", QUEUED.names, [row[name] for name in QUEUED.names])
    return queued


def tail_before(chat_id: UUID, message_id: int) -> list[tuple[str, Any]]:
    """The tail of what is left of a history whose rows from `message_id` on are deleted."""
    with sql.cursor() as cursor:
        cursor.execute(
            f"SELECT ({_TAIL.format(before='AND id < %s')}) FROM (SELECT %s::uuid AS id) wanted",
            [message_id, message_id, chat_id],
        )
        return [(role, parts) for role, parts in cursor.fetchone()[0] or ()]
