"""Chats to measure, with histories of given lengths: running, owned with a lease, nothing queued, no call open.

Their messages come from one `INSERT … SELECT`, with triggers and foreign keys off for that transaction and with the
table's indexes away: 1.8 million rows take seconds instead of a minute, and are the same. All that is measured has its
triggers, keys and indexes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from chat.catalogue import register_model
from chat.execution import Status
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.update import Fence

CHATS = {10: 4000, 1_000: 128, 100_000: 16}
"""Messages in the history → chats: one for every thread at least, and so many that no history grows by much."""
MODEL = "demo:demo"
TEXT = "The lease is a row beside the chat: renewing it touches nobody's history, and losing it costs one step."
PARTS: list[dict[str, Any]] = [{"type": "text", "text": TEXT}]
USAGE = {"input_tokens": 1200, "output_tokens": 27}
CLIENT_TOOLS = [{"name": "ask", "description": "Ask the person at the screen.", "parameters": {"type": "object"}}]
BATCH = 1000

_MESSAGES = """
    INSERT INTO chat_chatmessage (chat_id, role, parts, content_version, visibility, compressed, deleted, interrupted,
        revision, model, usage, created_by_id)
    SELECT chat.id, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END, %(parts)s::jsonb, 1, 'both', false, false,
        false, 1, CASE n %% 2 WHEN 1 THEN '' ELSE %(model)s END, CASE n %% 2 WHEN 0 THEN %(usage)s::jsonb END,
        CASE n %% 2 WHEN 1 THEN %(author)s::integer END
    FROM unnest(%(chats)s::uuid[]) chat (id), generate_series(1, %(length)s) n
"""


@dataclass
class Subject:
    """A chat under measurement, and what its runner and its client know of it."""

    id: UUID
    worker_id: UUID
    runner_id: UUID
    author: Any
    history_version: int = 1
    status: str = Status.RUNNING
    said: Any = None
    """The message that its person last sent."""

    def fence(self) -> Fence:
        return Fence(self.worker_id, self.runner_id, self.history_version, self.status)


def seed(length: int) -> list[Subject]:
    """The chats with `length` messages each."""
    register_model(MODEL, default=True)
    author, _ = get_user_model().objects.get_or_create(username="bench")
    subjects = [Subject(uuid4(), uuid4(), uuid4(), author) for _ in range(CHATS[length])]
    values: dict[str, Any] = {
        "parts": json.dumps(PARTS),
        "usage": json.dumps(USAGE),
        "model": MODEL,
        "author": author.pk,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        Chat.objects.bulk_create((_chat(one) for one in subjects), BATCH)
        RunnerLease.objects.bulk_create((_lease(one) for one in subjects), BATCH)
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(_MESSAGES, {**values, "chats": [one.id for one in subjects], "length": length})
    return subjects


def _chat(subject: Subject) -> Chat:
    return Chat(
        id=subject.id,
        owner=subject.author,
        title="a chat",
        model=MODEL,
        client_tools=CLIENT_TOOLS,
        status=subject.status,
        worker_id=subject.worker_id,
        runner_id=subject.runner_id,
    )


def _lease(subject: Subject) -> RunnerLease:
    return RunnerLease(chat_id=subject.id, worker_id=subject.worker_id, runner_id=subject.runner_id)


@contextmanager
def unhurried() -> Iterator[None]:
    """This thread's statements may take as long as they like, and do not spread over processes (nor /dev/shm)."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET max_parallel_maintenance_workers = 0")
        cursor.execute("SET maintenance_work_mem = '256MB'")
    yield
    connection.close()


@contextmanager
def without_indexes() -> Iterator[None]:
    """The messages' indexes are gone, and made again at the end."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE 'CREATE INDEX %%'",
            [ChatMessage._meta.db_table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        for _, definition in indexes:
            cursor.execute(definition)


def settle() -> None:
    """What a database of some age has: statistics, a visibility map, and no checkpoint that is due at once."""
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {Chat._meta.db_table}, {ChatMessage._meta.db_table}")
        cursor.execute("CHECKPOINT")


def sweep() -> None:
    """Remove dead rows, as autovacuum does once a minute: 16 chats change as often as 4,000, and gather more."""
    with connection.cursor() as cursor:
        for model in (Chat, QueuedMessage, RunnerLease):
            cursor.execute(f"VACUUM {model._meta.db_table}")
