"""The chats of many worlds as rows: written in bulk, past the door and in the only order that the triggers allow, and
read back as the reference's values, so that the two can be compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model, Q
from psycopg.types.json import Jsonb

from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from tests.reference.world import ChatModel, Queued, Row, World

SOME_DAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""The last heartbeat of a lease that has expired."""
SAID_AT, QUEUED_AT, NOW = 3, 5, 7
"""Snapshots in which the history, the queue and the rest came about."""


def lay(worlds: Sequence[tuple[World, dict[str, UUID]]], people: dict[str, Any]) -> None:
    """Write the chats of the worlds; their rows get the ids that the worlds give them."""
    chats = [(chat, ids[chat.name], ids) for world, ids in worlds for chat in world.chats.values()]
    with transaction.atomic():
        for generation in "abc":
            _copy(Chat, [_chat(chat, ids, people) for chat, _, ids in chats if chat.name == generation])
        _copy(ChatMessage, [_message(row, pk, people) for chat, pk, _ in chats for row in chat.history])
        everything = Chat.objects.filter(pk__in=[pk for _, pk, _ in chats])
        everything.update(snapshot_version=QUEUED_AT, queue_version=QUEUED_AT)
        _copy(
            QueuedMessage,
            [_queued(row, pk, place, people) for chat, pk, _ in chats for place, row in enumerate(chat.queue, start=4)],
        )
        archived = [pk for chat, pk, _ in chats if chat.archived]  # only now: an archived family takes no chat
        everything.update(snapshot_version=NOW, archived=Q(pk__in=archived))
        _copy(RunnerLease, [lease for chat, pk, _ in chats for lease in _leases(chat, pk)])


def _copy(model: type[Model], rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        columns = ", ".join(rows[0])
        with connection.cursor() as cursor, cursor.copy(f"COPY {model._meta.db_table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([Jsonb(v) if isinstance(v, dict | list) else v for v in row.values()])


def _chat(chat: ChatModel, ids: dict[str, UUID], people: dict[str, Any]) -> dict[str, Any]:
    copied = ("model", "options", "status", "worker_id", "runner_id", "generation_attempt", "retry_state",
              "last_error", "pin_order", "client_tools")  # fmt: skip
    return {name: getattr(chat, name) for name in copied} | {
        "id": ids[chat.name],
        "owner_id": people["ann"].pk,
        "parent_id": ids[{"b": "a", "c": "b"}[chat.name]] if chat.root else None,
        "root_id": ids[chat.root] if chat.root else None,
        "title": "", "system": "", "labels": [], "archived": False,
        "snapshot_version": SAID_AT, "history_version": SAID_AT, "queue_version": 0,
        "retry_state_version": 0, "snapshot_xid": 0,
        "requires_action_deadline_at": chat.requires_action_deadline_at and SOME_DAY,
        "compaction_requested_at": chat.compaction_requested_at and SOME_DAY,
    }  # fmt: skip


def _message(row: Row, chat_id: UUID, people: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id, "chat_id": chat_id, "role": row.role, "parts": row.parts, "model": row.model, "revision": 0,
        "created_by_id": people[row.author].pk if row.author else None, "content_version": 1, "visibility": "both",
        "compressed": False, "deleted": False, "interrupted": False,
    }  # fmt: skip


def _queued(row: Queued, chat_id: UUID, position: int, people: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row.id, "chat_id": chat_id, "parts": row.parts, "position": position, "model": row.model,
        "options": row.options, "steering": row.steering, "created_by_id": people[row.author].pk,
    }  # fmt: skip


def _leases(chat: ChatModel, chat_id: UUID) -> Iterator[dict[str, Any]]:
    for runner, (worker, fresh) in chat.leases.items():
        beat = datetime.now(UTC) + timedelta(hours=1) if fresh else SOME_DAY
        yield {"chat_id": chat_id, "runner_id": runner, "worker_id": worker, "heartbeat_at": beat}


def read(roots: Iterable[UUID]) -> dict[UUID, dict[UUID, ChatModel]]:
    """The chats of these families as they are now, by root and id; history and queue in their order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM chat_chat WHERE id = ANY(%(r)s) OR root_id = ANY(%(r)s)", {"r": list(roots)})
        ids = [row[0] for row in cursor.fetchall()]
    histories, queues = defaultdict(list), defaultdict(list)
    of_chats = {"chat_id__in": ids}
    for message in ChatMessage.objects.filter(**of_chats).select_related("created_by").order_by("id"):
        histories[message.chat_id].append(_row(message))
    for waiting in QueuedMessage.objects.filter(**of_chats).select_related("created_by").order_by("position", "id"):
        queues[waiting.chat_id].append(
            Queued(waiting.parts, waiting.created_by.username, waiting.model, waiting.options, waiting.steering)
        )
    leases: dict[UUID, dict[Any, Any]] = defaultdict(dict)
    for lease in RunnerLease.objects.filter(**of_chats):
        leases[lease.chat_id][lease.runner_id] = (lease.worker_id, lease.heartbeat_at > SOME_DAY)
    families: dict[UUID, dict[UUID, ChatModel]] = defaultdict(dict)
    for chat in Chat.objects.filter(pk__in=ids):
        columns = {name: getattr(chat, name) for name in _COLUMNS}
        families[chat.root_id or chat.pk][chat.pk] = ChatModel(
            str(chat.pk), history=histories[chat.pk], queue=queues[chat.pk], leases=leases[chat.pk], **columns
        )
    return families


_COLUMNS = (
    "client_tools", "model", "options", "status", "archived", "worker_id", "runner_id", "snapshot_version",
    "history_version", "queue_version", "generation_attempt", "retry_state", "retry_state_version", "last_error",
    "requires_action_deadline_at", "compaction_requested_at", "pin_order",
)  # fmt: skip


def _row(message: ChatMessage) -> Row:
    return Row(
        message.role, message.parts, message.model,
        interrupted=message.interrupted,
        author=message.created_by.username if message.created_by else None,
        revision=message.revision,
        deleted=message.deleted,
    )  # fmt: skip
