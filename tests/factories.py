"""Chats in any state, made without the machine under test: plain rows, with every field of the state set to something.

The versions differ from each other (snapshot 7, retry 6, queue 5, history 3), so that a version that moves, and one
that should have moved and did not, are both seen.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction

from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease

ROWS: dict[State, tuple[str, bool]] = {
    State.W: ("waiting", False),
    State.E0: ("error", False),
    State.E1: ("error", False),
    State.R0: ("running", False),
    State.R1: ("running", False),
    State.I0: ("interrupting", False),
    State.I1: ("interrupting", False),
    State.A0: ("requires_action", False),
    State.A1: ("requires_action", False),
    State.XW: ("waiting", True),
    State.XE0: ("error", True),
    State.XE1: ("error", True),
    State.INVALID: ("running", True),
}
LIVE_STATES = tuple(ROWS)
"""All states of a chat that exists."""

SAID = ("user", [{"type": "text", "text": "hello"}])
ANSWERED = ("assistant", [{"type": "text", "text": "good day"}])
SERVER_CALL = {"type": "tool_call", "tool_call_id": "s1", "tool_name": "search", "args": {}}
CLIENT_CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "ask", "args": {}}
CALLING = ("assistant", [{"type": "text", "text": "let me see"}, SERVER_CALL, CLIENT_CALL])
CLIENT_TOOLS = [{"name": "ask"}]
SOME_DAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORKER, RUNNER = UUID(int=1), UUID(int=2)


def has_queue(state: State) -> bool:
    return str(state).endswith("1")


def chat_in(
    state: State,
    owner: Any,
    *,
    queued: int | None = None,
    history: tuple[tuple[str, list[Any]], ...] = (SAID, CALLING),
    owned: bool = True,
) -> UUID:
    """A chat in `state`, with `queued` messages ("queued 1", …), owned by RUNNER with a fresh lease or by nobody."""
    status, archived = ROWS[state]
    queued = (1 if has_queue(state) else 0) if queued is None else queued
    with transaction.atomic():
        chat = Chat.objects.create(
            owner=owner,
            title="a chat",
            model="demo:demo",
            client_tools=CLIENT_TOOLS,
            status=status,
            archived=archived,
            snapshot_version=3,
            last_error={"message": "it broke"},
            requires_action_deadline_at=SOME_DAY,
            compaction_requested_at=SOME_DAY,
            worker_id=WORKER if owned else None,
            runner_id=RUNNER if owned else None,
        )
        row = Chat.objects.filter(pk=chat.pk)
        ChatMessage.objects.bulk_create(
            ChatMessage(chat=chat, role=role, parts=parts, created_by=owner if role == "user" else None)
            for role, parts in history
        )
        row.update(snapshot_version=5)
        QueuedMessage.objects.bulk_create(
            QueuedMessage(
                chat=chat, parts=[{"type": "text", "text": f"queued {i}"}], position=i, created_by=owner, model=""
            )
            for i in range(1, queued + 1)
        )
        row.update(snapshot_version=6, generation_attempt=2)
        row.update(retry_state={"attempt": 2})
        row.update(snapshot_version=7)
        if owned:
            RunnerLease.objects.create(chat=chat, runner_id=RUNNER, worker_id=WORKER)
    return chat.pk


def nowhere() -> UUID:
    """The id of no chat."""
    return uuid4()


def photograph() -> list[str]:
    """Every row of the state machine's tables, byte by byte, with its place on disk: a rewritten row differs too."""
    tables = ("chat_chat", "chat_chatmessage", "chat_queuedmessage", "chat_runnerlease")
    one = "SELECT '{0}' AS t, ctid::text || xmin::text || row_to_json({0})::text AS row FROM {0}"
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(one.format(table) for table in tables) + " ORDER BY 1, 2")
        return [f"{table} {row}" for table, row in cursor.fetchall()]


def chat_row(chat_id: UUID) -> dict[str, Any]:
    return dict(Chat.objects.filter(pk=chat_id).values().get())


def told(parts: list[dict[str, Any]]) -> str:
    """A message in a word or two: its text, or the results it brings."""
    words = []
    for part in parts:
        if part["type"] == "text":
            words.append(part["text"])
        elif part["type"] == "tool_call":
            words.append(f"{part['tool_call_id']}()")
        else:
            mark = "!" if part["synthetic"] and part["is_error"] else ""
            words.append(f"{part['tool_call_id']}{mark}={part['output']}")
    return " ".join(words)


def history_of(chat_id: UUID) -> list[tuple[str, str]]:
    """(role, in a word) of every message, in order."""
    rows = ChatMessage.objects.filter(chat_id=chat_id, deleted=False).order_by("id").values_list("role", "parts")
    return [(role, told(parts)) for role, parts in rows]


def queue_of(chat_id: UUID) -> list[str]:
    rows = QueuedMessage.objects.filter(chat_id=chat_id).order_by("position", "id").values_list("parts", flat=True)
    return [told(parts) for parts in rows]
