"""What an update reads beside the locked row: the queue and the end of the history, whatever their length."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from chat.models import QueuedMessage
from chat.rows.tables import MESSAGE, QUEUED


class Stored(NamedTuple):
    """What an update needs of a chat's other rows: the queue in order, and (role, parts) of the history's tail."""

    queue: list[QueuedMessage]
    tail: list[tuple[str, Any]]


_TAIL = f"""SELECT json_agg(json_build_array(role, parts) ORDER BY id) FROM {MESSAGE.name}
    WHERE chat_id = wanted.id AND NOT deleted AND id >= (
        SELECT id FROM {MESSAGE.name} WHERE chat_id = wanted.id AND NOT deleted AND role = 'assistant' {{before}}
        ORDER BY id DESC LIMIT 1) {{before}}"""


_STORED = f"""SELECT wanted.id, (SELECT json_agg(q ORDER BY q.position, q.id)
        FROM (SELECT {QUEUED.columns} FROM {QUEUED.name} WHERE chat_id = wanted.id) q),
    ({_TAIL.format(before="")})
    FROM {{wanted}} AS wanted"""


def stored_of(chat_id: UUID) -> Stored:
    """Queue and tail of a locked chat, in one statement, but not in that of the lock: one that waited for the lock
    would read those of before.
    """
    # Not the statement of many with a list of one: that would be planned anew each time, at four times the cost.
    return _read("(SELECT %s::uuid AS id)", chat_id)[chat_id]


def stored_of_all(chat_ids: Sequence[UUID]) -> dict[UUID, Stored]:
    """The same for several chats."""
    return _read("(SELECT unnest(%s::uuid[]) AS id)", list(chat_ids))


def _read(wanted: str, parameter: UUID | list[UUID]) -> dict[UUID, Stored]:
    with connection.cursor() as cursor:
        cursor.execute(_STORED.format(wanted=wanted), [parameter])
        found = cursor.fetchall()
    return {
        chat_id: Stored([_queued(row) for row in queue or ()], [(role, parts) for role, parts in tail or ()])
        for chat_id, queue, tail in found
    }


def _queued(row: dict[str, Any]) -> QueuedMessage:
    row["created_at"] = datetime.fromisoformat(row["created_at"])
    queued: QueuedMessage = QueuedMessage.from_db("default", QUEUED.names, [row[name] for name in QUEUED.names])
    return queued


def tail_before(chat_id: UUID, message_id: int) -> list[tuple[str, Any]]:
    """The tail of what is left of a history whose rows from `message_id` on are deleted."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ({_TAIL.format(before='AND id < %s')}) FROM (SELECT %s::uuid AS id) wanted",
            [message_id, message_id, chat_id],
        )
        return [(role, parts) for role, parts in cursor.fetchone()[0] or ()]
