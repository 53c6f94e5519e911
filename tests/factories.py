"""Chats in any state, made without the machine under test: plain rows, with every field of the state set to something.

The versions differ from each other (snapshot 7, retry 6, queue 5, history 3), so that a version that moves, and one
that should have moved and did not, are both seen.
"""

from collections.abc import Collection, Sequence
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
VALID_STATES = tuple(state for state in ROWS if state is not State.INVALID)
INVALID_ROWS: dict[str, tuple[str, bool, int]] = {
    "waiting with a queue": ("waiting", False, 1),
    "archived waiting with a queue": ("waiting", True, 1),
    "archived while running": ("running", True, 0),
    "archived while running with a queue": ("running", True, 2),
    "archived while interrupting": ("interrupting", True, 0),
    "archived while requiring action": ("requires_action", True, 1),
    "an unknown status": ("paused", False, 0),
    "an unknown status with a queue": ("", False, 1),
    "an unknown status, archived": ("archived", True, 0),
}
"""(status, archived, queued) of rows that the machine does not know."""

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
    row: tuple[str, bool] | None = None,
    queued: int | None = None,
    steering: Collection[int] = (),
    history: Sequence[tuple[str, list[Any]]] = (SAID, CALLING),
    client_tools: Sequence[dict[str, Any]] = CLIENT_TOOLS,
    parent: UUID | None = None,
    owned: bool = True,
) -> UUID:
    """A chat in `state`, or with `row` (status, archived), owned by RUNNER with a fresh lease or by nobody.

    `queued`: how many messages wait ("queued 1", …); `steering`: which of them are marked, 1 for the head.
    """
    status, archived = row or ROWS[state]
    queued = (1 if has_queue(state) else 0) if queued is None else queued
    with transaction.atomic():
        chat = Chat.objects.create(
            owner=owner,
            parent_id=parent,
            root_id=parent and (Chat.objects.values_list("root_id", flat=True).get(pk=parent) or parent),
            title="a chat",
            model="demo:demo",
            options={"seed": 5},
            pin_order=4,
            client_tools=list(client_tools),
            status=status,
            archived=archived,
            snapshot_version=3,
            last_error={"message": "it broke"},
            requires_action_deadline_at=SOME_DAY,
            compaction_requested_at=SOME_DAY,
            worker_id=WORKER if owned else None,
            runner_id=RUNNER if owned else None,
        )
        stored = Chat.objects.filter(pk=chat.pk)
        ChatMessage.objects.bulk_create(
            ChatMessage(chat=chat, role=role, parts=parts, created_by=owner if role == "user" else None)
            for role, parts in history
        )
        stored.update(snapshot_version=5)
        QueuedMessage.objects.bulk_create(
            QueuedMessage(
                chat=chat,
                parts=[{"type": "text", "text": f"queued {i}"}],
                position=i,
                steering=i in steering,
                created_by=owner,
            )
            for i in range(1, queued + 1)
        )
        stored.update(snapshot_version=6, generation_attempt=2)
        stored.update(retry_state={"attempt": 2})
        stored.update(snapshot_version=7)
        if owned:
            RunnerLease.objects.create(chat=chat, runner_id=RUNNER, worker_id=WORKER)
    return chat.pk


def family_of(owner: Any, *states: State) -> list[UUID]:
    """A root and its descendants in these states: root, child, grandchild (below the child), child, grandchild, …"""
    family: list[UUID] = []
    archived = []
    for i, state in enumerate(states):
        parent = None if i == 0 else family[0] if i % 2 else family[-1]
        status, is_archived = ROWS[state]
        family.append(chat_in(state, owner, row=(status, False), parent=parent))
        if is_archived:
            archived.append(family[-1])
    Chat.objects.filter(pk__in=archived).update(archived=True)
    return family


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


def photograph_of(chat_id: UUID) -> list[str]:
    """The rows that belong to a chat, as in `photograph`."""
    its = (f'"id":"{chat_id}"', f'"chat_id":"{chat_id}"')
    return [row for row in photograph() if any(mark in row for mark in its)]


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
