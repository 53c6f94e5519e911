"""Chats as lines of COPY, as quickly as Python can. Pure.

What is the same in many messages (role, parts, usage) is put into words once; a message costs one line of text. The
columns of each table are here, in the order of its lines; what a line leaves out has its default in the database.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from chat.execution import State
from chat.seeding.lives import Life
from chat.seeding.texts import ASK, Row, exchanges, pending_call, question_of
from chat.seeding.wish import Wish
from chat.titles import fallback_title

CHAT = (
    "id", "owner_id", "parent_id", "root_id", "title", "model", "options", "system", "labels", "pin_order",
    "client_tools", "status", "archived", "snapshot_version", "history_version", "queue_version", "generation_attempt",
    "retry_state_version", "last_error", "requires_action_deadline_at", "waiting_since", "snapshot_xid", "created_at",
    "updated_at",
)  # fmt: skip
MESSAGE = (
    "chat_id", "revision", "created_by_id", "created_at", "role", "parts", "content_version", "visibility",
    "compressed", "deleted", "interrupted", "model", "usage",
)  # fmt: skip
QUEUED = ("chat_id", "parts", "position", "model", "options", "steering", "created_by_id", "created_at")

_STATUS = {
    State.W: "waiting", State.XW: "waiting", State.E0: "error", State.E1: "error", State.XE0: "error",
    State.XE1: "error", State.R0: "running", State.R1: "running", State.A0: "requires_action",
}  # fmt: skip
_ARCHIVED = {State.XW, State.XE0, State.XE1}
_WITH_QUEUE = {State.E1, State.XE1, State.R1}
_WAITING = {State.R0, State.R1}
_ERROR = {"message": "The AI provider is temporarily overloaded.", "kind": "overloaded", "retryable": True}
_ANSWERED_WITHIN = timedelta(days=1)


def dump(value: Any) -> str:
    """JSON as COPY's text format takes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("\\", "\\\\")


class Writer:
    """The lines of one chat after the other; `owners`: primary keys."""

    def __init__(self, wish: Wish, owners: Sequence[Any]) -> None:
        self._wish, self._owners = wish, owners
        self._rng = Random(f"lines {wish.seed}")
        pool = exchanges(wish.seed)
        self._all = [([self._body(row) for row in one], fallback_title(question_of(one))) for one in pool]
        self._short = [one for one in self._all if len(one[0]) == 2]
        self._question, self._title = self._short[0][0][0], self._short[0][1]
        self._pending = [self._body(pending_call(number)) for number in range(9)]
        self._error, self._tools = dump(_ERROR), dump([ASK])
        self._queued = dump([{"type": "text", "text": "And one more thing."}])

    def _body(self, row: Row) -> str:
        model = self._wish.model if row.role == "assistant" else ""
        usage = dump(row.usage) if row.usage else "\\N"
        return f"{row.role}\t{dump(row.parts)}\t1\tboth\tf\tf\tf\t{model}\t{usage}\n"

    def lines(self, life: Life) -> tuple[str, str, str]:
        """Of the chat, its messages, its queue."""
        bodies, title = self._history(life)
        owner = self._owners[life.owner]
        return self._chat(life, owner, title), "".join(self._messages(life, owner, bodies)), self._queue(life, owner)

    def _history(self, life: Life) -> tuple[list[str], str]:
        """As many rows as the life has messages, and the title: whole exchanges, and a question that waits, if any."""
        rng = self._rng
        end: list[str] = []
        if life.messages % 2 or life.state in _WAITING:
            end = [self._question]
        if life.state is State.A0:
            end = [self._question, self._pending[life.messages % 9]]
        end = end[: life.messages]
        bodies: list[str] = []
        title = ""
        while (room := life.messages - len(end) - len(bodies)) >= 2:
            pool = self._all if room >= 4 else self._short
            exchange, of_exchange = pool[int(rng.random() * len(pool))]
            bodies += exchange
            title = title or of_exchange
        if room:  # the end took one too many, or too few
            bodies.append(self._question)
        return bodies + end, title or self._title

    def _messages(self, life: Life, owner: Any, bodies: list[str]) -> Iterator[str]:
        step = (life.said_at - life.began_at) / max(1, len(bodies) - 1)
        at = life.began_at
        for revision, body in enumerate(bodies, 1):
            by = owner if body[0] == "u" else "\\N"
            yield f"{life.id}\t{revision}\t{by}\t{at.isoformat(' ')}\t{body}"
            at += step

    def _chat(self, life: Life, owner: Any, title: str) -> str:
        state, history = life.state, life.messages
        queue = history + 1 if state in _WITH_QUEUE else 0
        snapshot = history + 2 + (state in _ARCHIVED)
        deadline = (self._wish.until + _ANSWERED_WITHIN).isoformat(" ") if state is State.A0 else "\\N"
        fields = (
            life.id, owner, life.root.id if life.root else "\\N", life.root.id if life.root else "\\N", title,
            self._wish.model, "{}", "", dump(life.labels), life.pin_order,
            self._tools if state is State.A0 else "[]", _STATUS[state], "t" if state in _ARCHIVED else "f",
            snapshot, history, queue, 0,
            0, self._error if _STATUS[state] == "error" else "\\N", deadline,
            life.updated_at.isoformat(" ") if state in _WAITING else "\\N", 0, life.began_at.isoformat(" "),
            life.updated_at.isoformat(" "),
        )  # fmt: skip
        return "\t".join(map(str, fields)) + "\n"

    def _queue(self, life: Life, owner: Any) -> str:
        if life.state not in _WITH_QUEUE:
            return ""
        return f"{life.id}\t{self._queued}\t1\t\t{{}}\tf\t{owner}\t{life.said_at.isoformat(' ')}\n"
