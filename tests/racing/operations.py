"""One operation: an update with its transitions, or a creation. The machine takes it, and so does the reference.

The reference takes two of them in both orders; what the machine made of them at once must be one of the two.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from chat import rows, transitions
from chat.errors import ChatRefusal, StaleFence
from chat.execution import RUNNABLE
from chat.models import Chat
from chat.transitions import NewMessage
from chat.update import Fence, chat_update
from tests.reference.transitions import Reference
from tests.reference.world import ChatModel, Refused, Row, World


@dataclass(frozen=True)
class Operation:
    """`moves`: what one update of `chat` does; ("create_chat", …) alone makes a sub-agent of it."""

    kind: str
    chat: str
    moves: tuple[tuple[str, dict[str, Any]], ...]
    fence: dict[str, Any] | None = None
    only_if_free: bool = False
    """As a worker takes a chat: it is runnable, and nobody's lease on it is fresh."""
    says: tuple[str, ...] = ()
    """Texts that are in the chat once the operation is done, and nowhere if it is refused."""
    head_start: int = 0
    """Statements that the other operation is ahead, so that the two do not always meet at the same place."""

    def __str__(self) -> str:  # for whoever has to repeat it
        moves = "; ".join(f"{name}({', '.join(f'{k}={v!r}' for k, v in given.items())})" for name, given in self.moves)
        fence = f" under {self.fence}" if self.fence else ""
        conditions = f"{', if free' * self.only_if_free}, {self.head_start} statements later"
        return f"{self.kind} ({self.chat}): {moves}{fence}{conditions}"


class NotFree(Exception):
    """Somebody works on the chat, or there is nothing to do."""


@dataclass(frozen=True)
class Result:
    """`version`: the snapshot that the operation made; otherwise what it was refused with."""

    version: int | None = None
    refusals: frozenset[str] = frozenset()

    @property
    def done(self) -> bool:
        return self.version is not None

    def agrees(self, predicted: "Result") -> bool:
        return self.version == predicted.version and self.refusals <= predicted.refusals

    def __str__(self) -> str:
        return f"done as {self.version}" if self.done else " or ".join(sorted(self.refusals))


# --- the machine ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the machine finds the chats and the people of a world."""

    ids: dict[str, UUID]
    people: dict[str, Any]
    """Users by name."""

    def take(self, operation: Operation) -> Result:
        try:
            return Result(version=self._taken(operation))
        except (ChatRefusal, StaleFence, NotFree) as refusal:
            return Result(refusals=frozenset([type(refusal).__name__]))

    def _taken(self, operation: Operation) -> int:
        if operation.moves[0][0] == "create_chat":
            return self._created(operation)
        fence = Fence(**operation.fence) if operation.fence else None
        with chat_update(self.ids[operation.chat], fence=fence) as update:
            chat = update.chat
            if operation.only_if_free and (
                update.state not in RUNNABLE or (chat.runner_id and rows.lease_is_fresh(chat.pk, chat.runner_id))
            ):
                raise NotFree
            for name, given in operation.moves:
                getattr(transitions, name)(update, **{key: self._real(key, value) for key, value in given.items()})
        return update.chat.snapshot_version

    def _created(self, operation: Operation) -> int:
        given = operation.moves[0][1]
        parent, root = self.ids[operation.chat], self.ids["a"]
        known = Chat(pk=parent, owner=self.people["ann"], root_id=None if parent == root else root)
        return transitions.create_chat(owner=known.owner, parts=given["parts"], parent=known).snapshot_version

    def _real(self, name: str, value: Any) -> Any:
        if name == "author":
            return self.people[value]
        if name in ("messages", "partial", "boundary", "suffix"):
            return [NewMessage(row.role, row.parts, row.model, interrupted=row.interrupted) for row in value]
        return value


# --- the reference ----------------------------------------------------------------------------------------------


@dataclass
class Prediction:
    """`stages`: the world before, between and after the two; `results`: in the order of the pair, not of the taking."""

    order: tuple[int, int]
    stages: list[World]
    results: list[Result] = field(default_factory=lambda: [Result(), Result()])
    published: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def seen(self, stage: int) -> dict[str, dict[str, Any]]:
        """All chats after so many of the two, new ones by what they began with."""
        before, chats = self.stages[0].chats, self.stages[stage].chats
        return {name if name in before else beginning(chat): seen(chat) for name, chat in chats.items()}


def foretell(world: World, pair: Sequence[Operation], order: tuple[int, int]) -> Prediction:
    """What comes of the pair if one is over before the other begins."""
    told = Prediction(order, [world])
    for place in order:
        world = World(world.queue_limit, dict(world.chats))
        try:
            told.results[place] = _foretell(world, pair[place], told)
        except Refused as refused:
            told.results[place] = Result(refusals=frozenset(refused.names))
        _number(world)
        told.stages.append(world)
    return told


def _foretell(world: World, operation: Operation, told: Prediction) -> Result:
    if operation.moves[0][0] == "create_chat":
        chat = world.create(**operation.moves[0][1], parent=operation.chat)
        told.published.update([("update", beginning(chat), "R0"), ("wake-up", beginning(chat), "")])
        return Result(version=1)
    block = Reference(world, operation.chat, operation.fence)
    if operation.only_if_free and (block.chat.state not in RUNNABLE or block.chat.has_fresh_lease):
        raise Refused("NotFree")
    for name, given in operation.moves:
        block.do(name, given)
    told.published.update((what, name, state if what == "update" else "") for what, name, state in block.commit())
    return Result(version=world.chats[operation.chat].snapshot_version)


def _number(world: World) -> None:
    """Committed rows have ids; the reference leaves that to the database."""
    for chat in world.chats.values():
        chat.history[:] = [replace(row, id=row.id or place) for place, row in enumerate(chat.history, start=1)]
        chat.queue[:] = [replace(row, id=row.id or place) for place, row in enumerate(chat.queue, start=1)]


def beginning(chat: ChatModel) -> str:
    """What a chat began with: the name of a new one, whoever of two came first."""
    return str(chat.history[0].parts[0]["text"])


def seen(chat: ChatModel) -> dict[str, Any]:
    """The chat as plain values, without what the database chooses: ids of rows, and the time of a time."""
    plain = {name: getattr(chat, name) for name in _COMPARED}
    plain["requires_action_deadline_at"] = chat.requires_action_deadline_at is not None
    plain["compaction_requested_at"] = chat.compaction_requested_at is not None
    plain["history"] = [_row(row) for row in chat.history]
    plain["queue"] = [(q.parts, q.author, q.model, q.options, q.steering) for q in chat.queue]
    return plain


_COMPARED = (
    "status", "archived", "worker_id", "runner_id", "snapshot_version", "history_version", "queue_version",
    "generation_attempt", "retry_state", "retry_state_version", "last_error", "pin_order", "model", "options", "leases",
)  # fmt: skip


def _row(row: Row) -> tuple[Any, ...]:
    return row.role, row.parts, row.model, row.interrupted, row.author, row.revision, row.deleted
