"""The door's SQL: few statements, plain, because every step of every chat goes through them.

Only `chat/update.py` and `chat/snapshot.py` call this. Each function runs on Django's default connection and demands
an open transaction where it writes (`require_transaction`).
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, models

from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease


class TransactionRequired(Exception):
    """This function changes rows that belong together and must run inside a transaction."""


def require_transaction() -> None:
    if not connection.in_atomic_block:
        raise TransactionRequired(TransactionRequired.__doc__)


class _Table:
    """Column lists of a model and the way from a raw row to an instance."""

    def __init__(self, model: type[models.Model]) -> None:
        fields = model._meta.concrete_fields
        self.model = model
        self.name = model._meta.db_table
        self.names = [field.attname for field in fields]
        self.columns = ", ".join(str(field.column) for field in fields)
        self._json = [i for i, field in enumerate(fields) if isinstance(field, models.JSONField)]
        self.json_names = {fields[i].attname for i in self._json}

    def instance(self, row: Sequence[Any]) -> Any:
        values = list(row)
        for i in self._json:
            if values[i] is not None:
                values[i] = json.loads(values[i])
        return self.model.from_db("default", self.names, values)

    def parameter(self, name: str, value: Any) -> Any:
        return dump(value) if name in self.json_names and value is not None else value


CHAT, MESSAGE, QUEUED = _Table(Chat), _Table(ChatMessage), _Table(QueuedMessage)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lock_chat(chat_id: UUID) -> Chat | None:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {CHAT.columns} FROM {CHAT.name} WHERE id = %s FOR UPDATE", [chat_id])
        row = cursor.fetchone()
    return CHAT.instance(row) if row else None


def queue_of(chat_id: UUID) -> list[QueuedMessage]:
    """The queue in order. A statement of its own: one that waited for the lock would read the queue of before."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {QUEUED.columns} FROM {QUEUED.name} WHERE chat_id = %s ORDER BY position, id", [chat_id]
        )
        return [QUEUED.instance(row) for row in cursor.fetchall()]


def tail_of(chat_id: UUID) -> list[tuple[str, list[dict[str, Any]]]]:
    """(role, parts) of the history from its last assistant message on."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT role, parts FROM {MESSAGE.name} WHERE chat_id = %s AND NOT deleted AND id >= (
                    SELECT id FROM {MESSAGE.name} WHERE chat_id = %s AND NOT deleted AND role = 'assistant'
                    ORDER BY id DESC LIMIT 1)
                ORDER BY id""",
            [chat_id, chat_id],
        )
        return [(role, json.loads(parts)) for role, parts in cursor.fetchall()]


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


def insert_chat(chat: Chat) -> None:
    require_transaction()
    names = [name for name in CHAT.names if name not in ("created_at", "updated_at", "snapshot_xid")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {CHAT.name} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            " RETURNING created_at, updated_at",
            [CHAT.parameter(name, getattr(chat, name)) for name in names],
        )
        chat.created_at, chat.updated_at = cursor.fetchone()
    chat._state.adding, chat._state.db = False, "default"


def save_chat(chat: Chat, changed: Sequence[str]) -> bool:
    """Write the changed columns of a locked chat; True if the owner's lease is fresh.

    The triggers reset the attempt with the history version, and the retry state with the attempt. An attempt of a
    history that begins in this very update, and a retry state of such an attempt, therefore follow in a statement of
    their own.
    """
    require_transaction()
    new_history = "history_version" in changed
    later = []
    if new_history and chat.generation_attempt:
        later.append("generation_attempt")
    if chat.retry_state is not None and (new_history or "generation_attempt" in changed):
        later.append("retry_state")
    lease_is_fresh = _update_chat(chat, [name for name in changed if name not in later])
    for name in later:
        lease_is_fresh = _update_chat(chat, [name])
    return lease_is_fresh


def _update_chat(chat: Chat, names: Sequence[str]) -> bool:
    assignments = ", ".join(f"{name} = %s" for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""UPDATE {CHAT.name} SET {assignments} WHERE id = %s
                RETURNING updated_at, retry_state_version, runner_id IS NOT NULL AND EXISTS (
                    SELECT FROM {RunnerLease._meta.db_table} lease
                    WHERE lease.chat_id = {CHAT.name}.id AND lease.runner_id = {CHAT.name}.runner_id
                    AND lease.heartbeat_at > now() - %s * interval '1 second')""",
            [*(CHAT.parameter(name, getattr(chat, name)) for name in names), chat.pk, settings.CHATD_LEASE_TTL],
        )
        chat.updated_at, chat.retry_state_version, lease_is_fresh = cursor.fetchone()
    return bool(lease_is_fresh)


_MESSAGE_INSERT = [name for name in MESSAGE.names if name not in ("id", "created_at", "revision")]
_QUEUED_INSERT = [name for name in QUEUED.names if name not in ("id", "created_at")]


def insert_messages(messages: Sequence[ChatMessage]) -> None:
    _insert(MESSAGE, _MESSAGE_INSERT, messages, ("id", "created_at", "revision"))


def insert_queued(queued: Sequence[QueuedMessage]) -> None:
    _insert(QUEUED, _QUEUED_INSERT, queued, ("id", "created_at"))


def _insert(table: _Table, names: list[str], rows: Sequence[Any], returned: tuple[str, ...]) -> None:
    require_transaction()
    one = f"({', '.join(['%s'] * len(names))})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([one] * len(rows))}"
            f" RETURNING {', '.join(returned)}",
            [table.parameter(name, getattr(row, name)) for row in rows for name in names],
        )
        for row, values in zip(rows, cursor.fetchall(), strict=True):
            for name, value in zip(returned, values, strict=True):
                setattr(row, name, value)
            row._state.adding, row._state.db = False, "default"


def delete_queued(ids: Sequence[int]) -> None:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {QUEUED.name} WHERE id = ANY(%s)", [list(ids)])


def insert_lease(chat_id: UUID, worker_id: UUID, runner_id: UUID) -> None:
    """A fresh lease of the chat's owner; those of earlier owners of the chat go with the same statement."""
    require_transaction()
    lease = RunnerLease._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH gone AS (DELETE FROM {lease} WHERE chat_id = %s AND runner_id <> %s)
                INSERT INTO {lease} (chat_id, worker_id, runner_id) VALUES (%s, %s, %s)
                ON CONFLICT (chat_id, runner_id) DO UPDATE
                SET worker_id = excluded.worker_id, acquired_at = now(), heartbeat_at = now()""",
            [chat_id, runner_id, chat_id, worker_id, runner_id],
        )


def delete_leases(chat_id: UUID) -> None:
    """The chat belongs to nobody: none of its leases stays, also none of an owner before the last."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {RunnerLease._meta.db_table} WHERE chat_id = %s", [chat_id])


def lease_is_fresh(chat_id: UUID, runner_id: UUID) -> bool:
    """Whether the runner's last heartbeat is younger than the lease's life, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT EXISTS (SELECT FROM {RunnerLease._meta.db_table} WHERE chat_id = %s AND runner_id = %s
                AND heartbeat_at > now() - %s * interval '1 second')""",
            [chat_id, runner_id, settings.CHATD_LEASE_TTL],
        )
        return bool(cursor.fetchone()[0])
