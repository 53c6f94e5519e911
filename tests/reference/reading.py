"""What the database holds of a walk's chats, in one statement, and where it differs from the reference.

A reading brings the rows that were written since the last one (by their transaction, so whoever wrote them is seen),
counts what it does not bring, and reads queue and leases whole.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.reference.world import ChatModel, Chosen, Either, Row, World

_READ = """
    SELECT json_build_object(
        'next', pg_snapshot_xmax(pg_current_snapshot())::xid::text::bigint,
        'chats', (SELECT json_agg(row_to_json(c)) FROM (
            SELECT *, extract(epoch FROM requires_action_deadline_at - updated_at) AS deadline_after,
                extract(epoch FROM compaction_requested_at - updated_at) AS mark_after,
                extract(epoch FROM updated_at) AS updated_after
            FROM chat_chat WHERE id = ANY(%(ids)s) AND xmin::text::bigint >= %(since)s) c),
        'messages', (SELECT json_agg(json_build_array(chat_id, n, written)) FROM (
            SELECT chat_id, count(*) AS n, json_agg(json_build_array(id, role, parts, model, usage, interrupted,
                visibility, compressed, created_by_id, revision, deleted) ORDER BY id)
                FILTER (WHERE xmin::text::bigint >= %(since)s) AS written
            FROM chat_chatmessage WHERE chat_id = ANY(%(ids)s) GROUP BY chat_id) m),
        'queue', (SELECT json_agg(json_build_array(chat_id, id, parts, created_by_id, model, options, steering)
            ORDER BY position, id) FROM chat_queuedmessage WHERE chat_id = ANY(%(ids)s)),
        'leases', (SELECT json_agg(json_build_array(chat_id, runner_id, worker_id,
            heartbeat_at > now() - interval '1 hour')) FROM chat_runnerlease WHERE chat_id = ANY(%(ids)s))
    )::text"""
COLUMNS = (
    "status", "archived", "worker_id", "runner_id", "snapshot_version", "history_version", "queue_version",
    "generation_attempt", "retry_state", "retry_state_version", "last_error", "requires_action_deadline_at",
    "compaction_requested_at", "model", "options", "pin_order",
)  # fmt: skip
_TIMES = {"requires_action_deadline_at": "deadline_after", "compaction_requested_at": "mark_after"}
_VOLATILE = {*COLUMNS, *_TIMES.values(), "updated_at", "updated_after", "snapshot_xid", "waiting_since"}
"""All other columns of a chat never change."""
SOON = 5.0
"""Seconds by which a time of the database may miss its mark: the time between two statements of one transaction."""


@dataclass
class Stored:
    """One chat, as last read. `written`: its row is part of the last reading; `count`: of its messages."""

    row: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    messages: dict[int, list[Any]] = field(default_factory=dict)
    new_messages: list[int] = field(default_factory=list)
    count: int = 0
    written: bool = False
    queue: list[list[Any]] = field(default_factory=list)
    leases: dict[str, tuple[str, bool]] = field(default_factory=dict)


class Readings:
    """`people`: name → user id; `ids`: the walk's name of a chat → its id.

    `connection`: not the one that writes, so that only what was committed is seen (and psycopg keeps the plan).
    """

    def __init__(self, people: dict[str, int], connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.ids: dict[str, str] = {}
        self.stored: dict[str, Stored] = {}
        self._people = people
        self._since = 0

    def read(self) -> set[str]:
        """Read what is new; the chats of which anything but queue and leases was written."""
        with self._connection.cursor() as cursor:
            cursor.execute(_READ, {"ids": list(self.ids.values()), "since": self._since})
            found = json.loads(cursor.fetchone()[0])
        self._since = found["next"]
        name_of = {chat_id: name for name, chat_id in self.ids.items()}
        for name in self.ids:
            stored = self.stored.setdefault(name, Stored())
            stored.written, stored.new_messages, stored.count, stored.queue, stored.leases = False, [], 0, [], {}
        for row in found["chats"] or ():
            stored = self.stored[name_of[row["id"]]]
            stored.before, stored.row, stored.written = stored.row, row, True
        for chat_id, count, written in found["messages"] or ():
            stored = self.stored[name_of[chat_id]]
            stored.messages |= {message[0]: message[1:] for message in written or ()}
            stored.new_messages, stored.count = [message[0] for message in written or ()], count
        for chat_id, *queued in found["queue"] or ():
            self.stored[name_of[chat_id]].queue.append(queued)
        for chat_id, runner_id, worker_id, fresh in found["leases"] or ():
            self.stored[name_of[chat_id]].leases[runner_id] = (worker_id, fresh)
        return {name for name, stored in self.stored.items() if stored.written or stored.new_messages}

    def differences(self, world: World, names: set[str]) -> list[str]:
        """Where the last reading differs from the reference; queue and leases for every chat."""
        found = []
        for name, stored in self.stored.items():
            chat = world.chats.get(name)
            if chat is None:
                found.append(f"{name} exists")
                continue
            different = self._queue(chat, stored)
            if chat.leases != stored.leases:
                different["leases"] = (chat.leases, stored.leases)
            if stored.count != len(stored.messages):
                different["number of messages"] = (len(stored.messages), stored.count)
            if name in names:
                different |= self._row(chat, stored) | self._history(chat, stored)
            found += [
                f"{name}: {what} is {actual!r}, expected {right!r}" for what, (right, actual) in different.items()
            ]
        return found

    def _row(self, chat: ChatModel, stored: Stored) -> dict[str, tuple[Any, Any]]:
        different: dict[str, tuple[Any, Any]] = {}
        for column in COLUMNS:
            expected, actual = getattr(chat, column), stored.row[column]
            if isinstance(expected, Chosen | Either):
                if not _accepts(expected, actual, stored.row.get(_TIMES.get(column, ""))):
                    different[column] = (expected, actual)
                setattr(chat, column, actual)
            elif expected != actual:
                different[column] = (expected, actual)
        constant = {column: value for column, value in stored.row.items() if column not in _VOLATILE}
        if not stored.before:
            root, tools = self.ids.get(chat.root or ""), list(chat.client_tools)
            before = constant | {"root_id": root, "client_tools": tools, "owner_id": self._people["ann"]}
        else:
            before = {column: stored.before[column] for column in constant}
        return different | {c: (before[c], constant[c]) for c in constant if before[c] != constant[c]}

    def _history(self, chat: ChatModel, stored: Stored) -> dict[str, tuple[Any, Any]]:
        """The first message that differs; what follows it says nothing new."""
        found = list(stored.messages.items())
        for place, (row, (known, actual)) in enumerate(zip(chat.history, found, strict=False)):
            if self._columns(row) != actual or row.id not in (None, known):
                return {f"message {place + 1}": (self._columns(row), actual)}
            if row.id is None:
                chat.history[place] = replace(row, id=known)
        both = min(len(chat.history), len(found))
        more = [self._columns(row) for row in chat.history[both:]], [actual for _, actual in found[both:]]
        return {f"history from message {both + 1} on": more} if any(more) else {}

    def _columns(self, row: Row) -> list[Any]:
        author = row.author and self._people[row.author]
        return [row.role, row.parts, row.model, row.usage, row.interrupted, row.visibility, row.compressed, author,
                row.revision, row.deleted]  # fmt: skip

    def _queue(self, chat: ChatModel, stored: Stored) -> dict[str, tuple[Any, Any]]:
        expected = [[q.id, q.parts, self._people[q.author], q.model, q.options, q.steering] for q in chat.queue]
        actual = stored.queue
        if [row[1:] for row in expected] != [row[1:] for row in actual]:
            return {"queue": (expected, actual)}
        for place, (row, known) in enumerate(zip(expected, actual, strict=True)):
            if row[0] is None:
                chat.queue[place] = replace(chat.queue[place], id=known[0])
            elif row[0] != known[0]:
                return {"queue": (expected, actual)}
        return {}


def _accepts(expected: Chosen | Either, actual: Any, after: float | None) -> bool:
    if isinstance(expected, Either):
        return actual in expected.values
    return actual is not None and (expected.after is None or abs((after or 0) - expected.after) < SOON)


def broken(stored: Stored, *, by_hand: bool) -> list[str]:
    """The invariants that the last reading of a chat breaks, whatever the reference says."""
    found, row, before = [], stored.row, stored.before
    versions = ("history_version", "queue_version", "retry_state_version")
    if before and stored.written:
        if row["snapshot_version"] != before["snapshot_version"] + (not by_hand):
            found.append(f"the snapshot went from {before['snapshot_version']} to {row['snapshot_version']}")
        if row["updated_after"] <= before["updated_after"] and not by_hand:
            found.append("the row was written, and updated_at stayed")
        found += [f"{name} went down" for name in versions if row[name] < before[name]]
    found += [f"{name} passed the snapshot" for name in versions if row[name] > row["snapshot_version"]]
    late = [known for known in stored.new_messages if stored.messages[known][8] != row["snapshot_version"]]
    return found + [f"message {known} was written in no version" for known in late] + malformed(stored)


def malformed(stored: Stored) -> list[str]:
    """Every call has at most one result, and exactly one before the next user or assistant message."""
    found: list[str] = []
    waiting: set[str] = set()
    for known, (role, parts, *_, deleted) in stored.messages.items():
        if deleted:
            continue
        if role == "tool":
            for part in parts:
                if part["tool_call_id"] not in waiting:
                    found.append(f"message {known} answers no open call")
                waiting.discard(part["tool_call_id"])
            continue
        if waiting:
            found.append(f"message {known} comes before the results of {sorted(waiting)}")
        if role == "assistant":
            calls = [part for part in parts if part["type"] == "tool_call" and not part.get("provider_executed")]
            waiting = {call["tool_call_id"] for call in calls}
    return found
