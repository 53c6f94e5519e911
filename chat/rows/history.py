"""Rows of the history: read what a prompt needs, add, hide."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from chat.models import ChatMessage
from chat.rows import sql
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
    with sql.cursor() as cursor:
        cursor.execute(
            f"""SELECT role, parts, model, visibility, compressed FROM {MESSAGE.name}
                WHERE chat_id = %s AND NOT deleted ORDER BY id""",
            [chat_id],
        )
        return [HistoryRow(role, json.loads(parts), *rest) for role, parts, *rest in cursor.fetchall()]


def message_of(chat_id: UUID, message_id: int) -> ChatMessage | None:
    """A message of the chat's history."""
    with sql.cursor() as cursor:
        cursor.execute(
            f"SELECT {MESSAGE.columns} FROM {MESSAGE.name} WHERE id = %s AND chat_id = %s AND NOT deleted",
            [message_id, chat_id],
        )
        row = cursor.fetchone()
    return MESSAGE.instance(row) if row else None


MADE_BY_POSTGRES = ("id", "created_at", "revision")
NEW_MESSAGE = [name for name in MESSAGE.names if name not in MADE_BY_POSTGRES]
"""The columns that a new message brings, and those that it gets."""


def insert_messages(messages: Sequence[ChatMessage]) -> None:
    insert(MESSAGE, NEW_MESSAGE, messages, MADE_BY_POSTGRES)


def delete_messages_from(chat_id: UUID, message_id: int) -> None:
    """Hide the message and all later ones; nobody's rows are removed."""
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(
            f"UPDATE {MESSAGE.name} SET deleted = true WHERE chat_id = %s AND id >= %s AND NOT deleted",
            [chat_id, message_id],
        )
