"""Chats as plain values: rows, history, queue, leases, and what their state reads.

Where the database chooses a value (a time), the model says `Chosen`; where the specification leaves room, `Either`.
The comparison puts the actual value in their place, so that it must stay the same from then on.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Parts: TypeAlias = list[dict[str, Any]]

MODELS = ("demo:demo", "demo:second")
STATES = {
    ("waiting", False, False): "W",
    ("error", False, False): "E0",
    ("error", False, True): "E1",
    ("running", False, False): "R0",
    ("running", False, True): "R1",
    ("interrupting", False, False): "I0",
    ("interrupting", False, True): "I1",
    ("requires_action", False, False): "A0",
    ("requires_action", False, True): "A1",
    ("waiting", True, False): "XW",
    ("error", True, False): "XE0",
    ("error", True, True): "XE1",
}
"""(status, archived, something in the queue) → state; every other tuple is Invalid."""
RUNNABLE = ("R0", "R1", "I0", "I1")


class Refused(Exception):
    """`names`: the refusals of which any is right; `usable`: the table said no at departure, the block may go on."""

    def __init__(self, *names: str, usable: bool = False) -> None:
        super().__init__(*names)
        self.names, self.usable = set(names), usable


@dataclass(frozen=True)
class Chosen:
    """Not null, and chosen elsewhere. `after`: the distance of a time from the commit, in seconds."""

    after: int | None = None


@dataclass(frozen=True)
class Either:
    """The specification allows each of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """A message of the history; also one that is to enter it (then without id and revision)."""

    role: str
    parts: Parts
    model: str = ""
    usage: dict[str, Any] | None = None
    interrupted: bool = False
    visibility: str = "both"
    compressed: bool = False
    author: str | None = None
    revision: int = 0
    deleted: bool = False
    id: int | None = None

    def __repr__(self) -> str:
        marks = [name for name in ("interrupted", "compressed", "deleted") if getattr(self, name)]
        return f"<{' '.join([self.role, told(self.parts), *marks])}>"


@dataclass(frozen=True)
class Queued:
    parts: Parts
    author: str
    model: str
    options: dict[str, Any]
    steering: bool
    id: int | None = None


@dataclass
class ChatModel:
    """One row of the table of chats, with what belongs to it."""

    name: str
    root: str | None = None
    client_tools: Sequence[dict[str, Any]] = ()
    model: str = MODELS[0]
    options: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    archived: bool = False
    worker_id: str | None = None
    runner_id: str | None = None
    snapshot_version: int = 1
    history_version: int = 1
    queue_version: int = 0
    generation_attempt: int = 0
    retry_state: Any = None
    retry_state_version: Any = 0
    last_error: Any = None
    requires_action_deadline_at: Any = None
    compaction_requested_at: Any = None
    pin_order: int = 0
    history: list[Row] = field(default_factory=list)
    queue: list[Queued] = field(default_factory=list)
    leases: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """runner → (worker, whether the heartbeat is fresh)"""

    @property
    def state(self) -> str:
        return STATES.get((self.status, self.archived, bool(self.queue)), "Invalid")

    @property
    def has_fresh_lease(self) -> bool:
        return self.leases.get(self.runner_id or "", ("", False))[1]

    @property
    def wakes(self) -> bool:
        """Whether a commit in this state asks for a worker."""
        return self.state in RUNNABLE and not self.has_fresh_lease

    def draft(self) -> "ChatModel":
        other = copy(self)
        other.history, other.queue, other.leases = list(self.history), list(self.queue), dict(self.leases)
        return other

    def outstanding(self) -> list[dict[str, Any]]:
        """Calls on the last assistant message without a result in a later tool message; never the provider's own."""
        calls: list[dict[str, Any]] = []
        for row in self.history:
            if row.deleted:
                continue
            if row.role == "assistant":
                calls = [p for p in row.parts if p["type"] == "tool_call" and not p.get("provider_executed")]
            elif row.role == "tool":
                done = [p["tool_call_id"] for p in row.parts if p["type"] == "tool_result"]
                calls = [call for call in calls if call["tool_call_id"] not in done]
        return calls

    def client_calls(self) -> list[dict[str, Any]]:
        names = {tool["name"] for tool in self.client_tools}
        return [call for call in self.outstanding() if call["tool_name"] in names]


@dataclass
class World:
    """All chats of one walk, by a short name, in the order in which they were created."""

    queue_limit: int
    chats: dict[str, ChatModel] = field(default_factory=dict)

    def descendants(self, name: str) -> list[str]:
        return [other.name for other in self.chats.values() if other.root == name]

    def create(
        self, *, parts: Parts, author: str, parent: str | None = None, client_tools: Any = (), model: str | None = None
    ) -> ChatModel:
        wrong = wrong_message(parts, model)
        root = parent and (self.chats[parent].root or parent)
        if root and self.chats[root].archived:
            wrong.append("FamilyArchived")
        if wrong:
            raise Refused(*wrong)
        chat = ChatModel(name_of(len(self.chats)), root, client_tools, model or MODELS[0])
        chat.history.append(Row("user", parts, author=author, revision=1))
        self.chats[chat.name] = chat
        return chat


def name_of(number: int) -> str:
    return chr(ord("a") + number)


def result_of(call: dict[str, Any], output: Any, *, is_error: bool = False, synthetic: bool = False) -> dict[str, Any]:
    names = {"tool_call_id": call["tool_call_id"], "tool_name": call["tool_name"]}
    return {"type": "tool_result", **names, "output": output, "is_error": is_error, "synthetic": synthetic}


def wrong_message(parts: Parts, model: str | None) -> list[str]:
    """The refusals that a user's message earns by itself."""
    said = [p for p in parts if p["type"] == "file" or (p["type"] == "text" and p["text"].strip())]
    wrong = [] if said and all(p["type"] in ("text", "file") for p in parts) else ["MessageInvalid"]
    return wrong if model is None or model in MODELS else [*wrong, "ModelUnknown"]


def told(parts: Parts) -> str:
    """A message in a word or two, for the trail."""
    words = []
    for part in parts:
        if part["type"] == "text":
            words.append(repr(part["text"]))
        elif part["type"] == "tool_call":
            words.append(f"{part['tool_call_id']}:{part['tool_name']}()")
        elif part["type"] == "tool_result":
            words.append(f"{part['tool_call_id']}={part['output']!r}" + "!" * part.get("synthetic", False))
        else:
            words.append(part["type"])
    return " ".join(words) or "nothing"
