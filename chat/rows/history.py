"""Rows of the history: read what a prompt needs, add, hide."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from chat.models import ChatMessage
from chat.rows.tables import MESSAGE, insert, require_transaction


class HistoryRow(NamedTuple):
    """What a prompt needs of a message; a model instance would cost ten times as much."""

    role: str
    parts: list[dict[str, Any]]
    model: str
    visibility: str
    compressed: bool


def history_of(chat_id: UUID) -> list[HistoryRow]:
    """All messages that are not deleted, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT role, parts, model, visibility, compressed FROM {MESSAGE.name}
                WHERE chat_id = %s AND NOT deleted ORDER BY id""",
            [chat_id],
        )
        return [HistoryRow(role, json.loads(parts), *rest) for role, parts, *rest in cursor.fetchall()]


def message_of(chat_id: UUID, message_id: int) -> ChatMessage | None:
    """A message of the chat's history."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {MESSAGE.columns} FROM {MESSAGE.name} WHERE id = %s AND chat_id = %s AND NOT deleted",
            [message_id, chat_id],
        )
        row = cursor.fetchone()
    return MESSAGE.instance(row) if row else None


_INSERTED = [name for name in MESSAGE.names if name not in ("id", "created_at", "revision")]


def insert_messages(messages: Sequence[ChatMessage]) -> None:
    insert(MESSAGE, _INSERTED, messages, ("id", "created_at", "revision"))


def delete_messages_from(chat_id: UUID, message_id: int) -> None:
    """Hide the message and all later ones; nobody's rows are removed."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {MESSAGE.name} SET deleted = true WHERE chat_id = %s AND id >= %s AND NOT deleted",
            [chat_id, message_id],
        )
