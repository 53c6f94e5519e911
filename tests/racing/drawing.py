"""A family of chats and two operations on it, out of a seed and a number: the same in every run.

Mostly what the table allows in the state in which the two begin; sometimes anything, because the other operation may
make it possible, or because it must be refused in every order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from tests.factories import RUNNER, WORKER
from tests.racing.field import NOW, QUEUED_AT, SAID_AT
from tests.racing.operations import Operation
from tests.reference.world import ChatModel, Chosen, Parts, Queued, Row, World, result_of
from tests.table import TABLE

QUEUE_LIMIT = 3
OTHERS = [(UUID(int=11), UUID(int=12)), (UUID(int=21), UUID(int=22))]
"""Workers and runners that want a chat."""
TOOLS = [{"name": "ask", "timeout_s": 60}]
SERVER_CALL = {"type": "tool_call", "tool_call_id": "s1", "tool_name": "search", "args": {}}
CLIENT_CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "ask", "args": {}}
COLUMNS = {
    "W": ("waiting", False), "E": ("error", False), "R": ("running", False), "I": ("interrupting", False),
    "A": ("requires_action", False), "XW": ("waiting", True), "XE": ("error", True),
}  # fmt: skip
ALONE = ("W", "E0", "E1", "R0", "R0", "R0", "R1", "R1", "R1", "R1", "I0", "I1", "I1", "A0", "A1", "A1", "XW", "XE1")
FAMILIES = (
    ("W", "W"),
    ("W", "E1"),
    ("E1", "W", "E0"),
    ("E0", "R0"),
    ("W", "W", "W"),
    ("XW", "XE1"),
    ("XE1", "XW", "XW"),
)
NO_MESSAGE_BEFORE = -(10**12)
"""Ids that come before all that the database gives."""


@dataclass(frozen=True)
class Pair:
    number: int
    world: World
    ids: dict[str, UUID]
    operations: tuple[Operation, Operation]


def draw(seed: int, number: int) -> Pair:
    return _Draw(seed, number).pair()


class _Draw:
    def __init__(self, seed: int, number: int) -> None:
        self._rng = Random(f"{seed}:{number}")
        self._number = number
        self._next_id = NO_MESSAGE_BEFORE + number * 100

    def pair(self) -> Pair:
        states = self._rng.choice(FAMILIES) if self._one_in(4) else (self._rng.choice(ALONE),)
        chats = [self._chat(name, state) for name, state in zip("abc", states, strict=False)]
        world = World(QUEUE_LIMIT, {chat.name: chat for chat in chats})
        operations = [self._operation(word, chats) for word in ("x", "y")]
        if self._one_in(6):  # the same twice
            operations[0] = self._of(world.chats[operations[1].chat], operations[1].kind, "x")
        elif len(chats) > 1 and self._one_in(2):
            operations[0] = self._of(chats[0], "unarchive" if chats[0].archived else "archive", "x")
        self._rng.shuffle(operations)
        first, second = operations
        ids = {chat.name: UUID(int=self._rng.getrandbits(128)) for chat in chats}
        return Pair(self._number, world, ids, (first, second))

    def _one_in(self, times: int) -> bool:
        return self._rng.randrange(times) == 0

    # --- the chats ---------------------------------------------------------------------------------------------

    def _chat(self, name: str, state: str) -> ChatModel:
        status, archived = COLUMNS[state.rstrip("01")]
        waits = self._rng.randint(1, QUEUE_LIMIT) if state.endswith("1") else 0
        busy = status in ("running", "interrupting")
        owner = self._rng.choice(("fresh", "fresh", "fresh", "expired", "nobody") if busy else ("nobody", "fresh"))
        return ChatModel(
            name,
            root=None if name == "a" else "a",
            client_tools=TOOLS,
            status=status,
            archived=archived,
            worker_id=None if owner == "nobody" else WORKER,
            runner_id=None if owner == "nobody" else RUNNER,
            snapshot_version=NOW,
            history_version=SAID_AT,
            queue_version=QUEUED_AT,
            generation_attempt=2,
            retry_state={"attempt": 2},
            retry_state_version=SAID_AT,
            last_error={"message": "it broke"} if status == "error" else None,
            requires_action_deadline_at=Chosen() if status == "requires_action" else None,
            compaction_requested_at=Chosen() if status == "running" and self._one_in(4) else None,
            pin_order=self._rng.choice((0, 4)),
            history=self._history(status),
            queue=[self._queued(name, place) for place in range(waits)],
            leases={} if owner == "nobody" else {RUNNER: (WORKER, owner == "fresh")},
        )

    def _history(self, status: str) -> list[Row]:
        said, again = ("user", _text("said")), ("user", _text("said again"))
        answered = ("assistant", _text("answered"))
        calling = ("assistant", [*_text("let me see"), SERVER_CALL, CLIENT_CALL])
        plain = ([said], [said, answered, again], [said, answered], [said, calling])
        asking = ([said, calling], [said, ("assistant", [CLIENT_CALL])])
        chosen = self._rng.choice(asking if status == "requires_action" else plain)
        return [self._row(role, parts) for role, parts in chosen]

    def _row(self, role: str, parts: Parts) -> Row:
        self._next_id += 1
        return Row(role, parts, author="ann" if role == "user" else None, revision=SAID_AT, id=self._next_id)

    def _queued(self, chat: str, place: int) -> Queued:
        self._next_id += 1
        return Queued(_text(f"waits {chat}{place}"), "ben", "demo:demo", {}, self._one_in(2), id=self._next_id)

    # --- the operations ----------------------------------------------------------------------------------------

    def _operation(self, word: str, chats: list[ChatModel]) -> Operation:
        chat = self._rng.choice(chats)
        kinds = list(KINDS) if self._one_in(4) else [kind for kind in KINDS if self._allowed(kind, chat)]
        [kind] = self._rng.choices(kinds, weights=[WEIGHTS.get(kind, 4) for kind in kinds])
        return self._of(chat, kind, word)

    def _allowed(self, kind: str, chat: ChatModel) -> bool:
        first = KINDS[kind][0]
        return bool(TABLE[first, chat.state]) if first != "create" else chat.name != "a" or self._one_in(3)

    def _of(self, chat: ChatModel, kind: str, word: str) -> Operation:
        _, how = KINDS[kind]
        moves, others = how(self, chat, f"{self._number}{word}")
        fenced = others.pop("fenced", False) and not self._one_in(10)
        fence = self._fence(chat, moves[0][0]) if fenced else None
        start = self._rng.choice((0, 0, 0, 0, 1, 2, 4, 6))
        return Operation(kind, chat.name, tuple(moves), fence, head_start=start, **others)

    def _fence(self, chat: ChatModel, transition: str) -> dict[str, Any]:
        """What a runner that has read the chat would hold; one that works on an interruption has seen it."""
        status = "interrupting" if transition == "finish_interruption" else chat.status
        fence = {"worker_id": WORKER, "runner_id": RUNNER, "history_version": SAID_AT, "status": status}
        return fence | ({"generation_attempt": 2} if self._one_in(2) else {})

    def queued_id(self, chat: ChatModel) -> int:
        return (self._rng.choice(chat.queue).id if chat.queue else 0) or 0

    def message_id(self, chat: ChatModel) -> int:
        return self._rng.choice([row.id or 0 for row in chat.history if row.role == "user"])

    def author(self) -> str:
        return self._rng.choice(("ann", "ben"))

    def place(self, chat: ChatModel) -> int:
        return self._rng.randint(1, max(1, len(chat.queue)))

    def owner(self) -> dict[str, UUID]:
        return dict(zip(("worker_id", "runner_id"), self._rng.choice(OTHERS), strict=True))


Moves = list[tuple[str, dict[str, Any]]]
Made = tuple[Moves, dict[str, Any]]
Maker = Callable[[_Draw, ChatModel, str], Made]


def _text(text: str) -> Parts:
    return [{"type": "text", "text": text}]


def _answer(chat: ChatModel, word: str) -> list[Row]:
    """What a step commits: results where calls wait for them, then a text."""
    results = [Row("tool", [result_of(call, "found")]) for call in chat.outstanding()]
    return [*results, Row("assistant", _text(word), model="demo:demo")]


def _results(chat: ChatModel) -> list[dict[str, Any]]:
    return [{"tool_call_id": call["tool_call_id"], "output": "yes"} for call in chat.client_calls()]


def _person(name: str, **fixed: Any) -> Maker:
    """A transition of a person's, about nothing in particular."""
    return lambda draw, chat, word: ([(name, dict(fixed))], {})


def _runner(*names: str) -> Maker:
    """Transitions of a runner's in one update, under its fence; the first may commit a step."""

    def make(draw: _Draw, chat: ChatModel, word: str) -> Made:
        given: dict[str, dict[str, Any]] = {
            "commit_step": {"messages": _answer(chat, word)},
            "finish_interruption": {"partial": _answer(chat, word)},
            "finish_error": {"error": {"message": word}},
            "record_retry_state": {"retry_state": {"attempt": 3}},
        }
        says = (word,) if names[0] in ("commit_step", "finish_interruption") else ()
        return [(name, given.get(name, {})) for name in names], {"fenced": True, "says": says}

    return make


def _send(busy_behavior: str) -> Maker:
    return lambda draw, chat, word: (
        [("send_message", {"parts": _text(word), "author": draw.author(), "busy_behavior": busy_behavior})],
        {"says": (word,)},
    )


def _edit(draw: _Draw, chat: ChatModel, word: str) -> Made:
    given = {"message_id": draw.message_id(chat), "parts": _text(word), "author": draw.author()}
    return [("edit_message", given)], {"says": (word,)}


def _rewrite(draw: _Draw, chat: ChatModel, word: str) -> Made:
    return [("update_queued_message", {"queued_id": draw.queued_id(chat), "parts": _text(word)})], {"says": (word,)}


def _stop(draw: _Draw, chat: ChatModel, word: str) -> Made:
    """The interrupt of a chat that nobody works on."""
    return [("interrupt", {}), ("finish_interruption", {"partial": _answer(chat, word)})], {"says": (word,)}


KINDS: dict[str, tuple[str, Maker]] = {
    "queue": ("send_message_queue", _send("queue")),
    "steer": ("send_message_queue", _send("steer")),
    "send and interrupt": ("send_message_interrupt", _send("interrupt")),
    "interrupt": ("interrupt", _person("interrupt")),
    "stop": ("interrupt", _stop),
    "edit": ("edit_message", _edit),
    "promote": (
        "promote_queued_message",
        lambda draw, chat, word: ([("promote_queued_message", {"queued_id": draw.queued_id(chat)})], {}),
    ),
    "rewrite": ("update_queued_message", _rewrite),
    "reorder": (
        "update_queued_message",
        lambda draw, chat, word: (
            [("update_queued_message", {"queued_id": draw.queued_id(chat), "position": draw.place(chat)})], {},
        ),
    ),
    "delete": (
        "delete_queued_message",
        lambda draw, chat, word: ([("delete_queued_message", {"queued_id": draw.queued_id(chat)})], {}),
    ),
    "archive": ("set_archived_true", _person("set_archived", archived=True)),
    "unarchive": ("set_archived_false", _person("set_archived", archived=False)),
    "compact": ("request_compaction", _person("request_compaction")),
    "clear": (
        "clear_context",
        lambda draw, chat, word: ([("clear_context", {"boundary": [Row("user", _text(word))]})], {"says": (word,)}),
    ),
    "create": (
        "create",
        lambda draw, chat, word: ([("create_chat", {"parts": _text(word), "author": "ann"})], {"says": (word,)}),
    ),
    "acquire": ("interrupt", lambda draw, chat, word: ([("acquire", draw.owner())], {"only_if_free": True})),
    "take over": ("acquire", lambda draw, chat, word: ([("acquire", draw.owner())], {})),
    "abandon": ("abandon", _runner("abandon")),
    "attempt": ("record_generation_attempt", _runner("record_generation_attempt")),
    "retry": ("record_retry_state", _runner("record_retry_state")),
    "step": ("commit_step", _runner("commit_step")),
    "step and absorb": ("absorb_steering", _runner("commit_step", "absorb_steering")),
    "step and end": ("commit_step", _runner("commit_step", "finish_turn")),
    "step, end and abandon": ("commit_step", _runner("commit_step", "finish_turn", "abandon")),
    "end": ("finish_turn", _runner("finish_turn")),
    "fail": ("finish_error", _runner("finish_error")),
    "end of an interruption": ("finish_interruption", _runner("finish_interruption")),
    "wait for the client": ("enter_requires_action", _runner("enter_requires_action")),
    "client answers": (
        "complete_requires_action",
        lambda draw, chat, word: ([("complete_requires_action", {"results": _results(chat)})], {}),
    ),
    "client is too late": ("cancel_requires_action", _person("cancel_requires_action")),
}  # fmt: skip
"""What may happen → the row of the table that says where, and how it is made."""
ENDING = {
    "abandon", "step", "step and absorb", "step and end", "step, end and abandon", "end", "fail",
    "end of an interruption", "wait for the client",
}  # fmt: skip
"""Under a fence, at most one of them."""
WEIGHTS = {"take over": 1, "abandon": 1, "acquire": 8, "step and absorb": 8, "wait for the client": 8}
"""Rarer than others because they are always possible; more often, because they mostly are not."""
