"""What a random walk does next: a step for the real machine, already taken by the reference.

Mostly what the table allows in the present state, sometimes anything. A step is made of a few numbers (`Digits`) that
are its own, so that a walk can be taken again without some of its steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.reference.messages import TOOL_SETS, Digits, Messages
from tests.reference.transitions import TRANSITIONS, Reference, in_table
from tests.reference.world import STATES, ChatModel, Refused, World, name_of
from tests.table import TABLE

MOST_CHATS = 6
"""A family or two, without making each step slow."""
OWNERS = [(f"00000000-0000-0000-0000-00000000000{n}", f"00000000-0000-0000-0000-00000000001{n}") for n in (1, 2, 3)]
"""(worker, runner)"""
SEND = [("send_message", {"busy_behavior": busy}) for busy in ("queue", "interrupt", "steer")]
SHOUT = ("send_message", {"busy_behavior": "shout"})
ARCHIVE = [("set_archived", {"archived": archived}) for archived in (True, False)]
WEIGHTS = {
    "commit_step": 10, "send_message": 2, "finish_turn": 5, "finish_interruption": 8, "enter_requires_action": 5,
    "complete_requires_action": 5, "reconcile_invalid_state": 6, "absorb_steering": 5, "acquire": 2, "set_archived": 3,
    "promote_queued_message": 2, "update_queued_message": 2, "delete_queued_message": 2, "finish_error": 2,
    "clear_context": 2, "abandon": 2, "edit_message": 2,
}  # fmt: skip
CALLS = [
    ("commit_step", {}),
    *SEND,
    *ARCHIVE,
    *((name, {}) for name in TRANSITIONS if name not in ("commit_step", "send_message", "set_archived")),
]
"""Every function that changes a chat. The first is what Hypothesis tries most."""
LIKELY = {
    state: [
        (name, fixed)
        for name, fixed in CALLS
        if TABLE[in_table(name, fixed), state]
        for _ in range(WEIGHTS.get(name, 1))
    ]
    for state in [*STATES.values(), "Invalid"]
}
"""state → what the table allows there, the more often the more it leads to."""


@dataclass
class Move:
    name: str
    arguments: dict[str, Any]
    caught: Refused | None = None
    """The table refuses it, and the block goes on."""

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})" + (" caught" if self.caught else "")


@dataclass
class Step:
    """`kind`: update, create, read or by_hand. `refused`: what is to happen instead of `published`."""

    kind: str
    chat: str
    moves: list[Move] = field(default_factory=list)
    fence: dict[str, Any] | None = None
    raises: bool = False
    """The block fails by itself after its last move."""
    refused: Refused | None = None
    published: list[tuple[str, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        words = [f"{self.kind} {self.chat}:", "; ".join(map(str, self.moves)) or "nothing"]
        words += [f"under {self.fence}"] * (self.fence is not None) + ["and raise"] * self.raises
        states = ", ".join(f"{chat} {state}" for what, chat, state in self.published if what == "update")
        return " ".join([*words, "→", " or ".join(sorted(self.refused.names)) if self.refused else states or "same"])


class Walk:
    def __init__(self, world: World) -> None:
        self.world = world
        self._draw: Callable[[], int] = int
        self._messages = Messages()

    def next_step(self, draw: Callable[[], int]) -> Step:
        """`draw`: a number below `Digits.BIGGEST`, as often as it is called."""
        self._draw = draw
        how = Digits(draw)
        kind, names = how.below(50), list(self.world.chats)
        if not names or (kind in (45, 46) and len(names) < MOST_CHATS):
            return self._create(how)
        name = how.of(names)
        if kind in (47, 48):
            return self._by_hand(how, self.world.chats[name])
        fence = self._fence(how, self.world.chats[name])
        if kind == 49:
            return self._read(name, fence)
        return self._update("nowhere" if how.one_in(100) else name, fence, how)

    def _create(self, how: Digits) -> Step:
        said = self._messages.said(how)
        said = said | {"author": "ann"}
        said.pop("options", None)
        arguments = said | {"client_tools": how.of(TOOL_SETS)}
        if self.world.chats and how.one_in(2):
            arguments["parent"] = how.of(list(self.world.chats))
        step = Step("create", name_of(len(self.world.chats)), [Move("create_chat", arguments)])
        try:
            self.world.create(**arguments)
        except Refused as refused:
            step.refused = refused
        else:
            step.published = [("update", step.chat, "R0"), ("wake-up", step.chat, "R0")]
        return step

    def _read(self, name: str, fence: dict[str, Any] | None) -> Step:
        step = Step("read", name, fence=fence)
        try:
            Reference(self.world, name, fence)
        except Refused as refused:
            step.refused = refused
        return step

    def _fence(self, how: Digits, chat: ChatModel) -> dict[str, Any] | None:
        """None, what the row says, or that with one field wrong."""
        if not how.one_in(3 if chat.worker_id else 20):
            return None
        worker_id, runner_id = OWNERS[0] if chat.worker_id is None else (chat.worker_id, chat.runner_id)
        fence = {"worker_id": worker_id, "runner_id": runner_id}
        fence |= {"history_version": chat.history_version, "status": chat.status}
        if how.one_in(2):
            fence["generation_attempt"] = chat.generation_attempt
        another = "requires_action" if chat.status == "running" else "running"
        wrong = {"worker_id": OWNERS[2][1], "runner_id": OWNERS[2][0], "history_version": chat.history_version - 1}
        wrong |= {"status": another, "generation_attempt": chat.generation_attempt + 1}
        return fence | dict([how.of(list(wrong.items()))]) if how.one_in(5) else fence

    # --- one block ---------------------------------------------------------------------------------------------

    def _update(self, name: str, fence: dict[str, Any] | None, how: Digits) -> Step:
        moves, raises = how.of((1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 0)), how.one_in(20)
        step = Step("update", name, fence=fence)
        try:
            block = Reference(self.world, name, fence)
            for _ in range(moves):
                self._move(block, step)
            if raises:
                step.raises = True
                raise Refused("Whatever")
            step.published = list(block.commit())
        except Refused as refused:
            step.refused = refused
        return step

    def _move(self, block: Reference, step: Step) -> None:
        how = Digits(self._draw)
        again = step.moves and how.one_in(8)
        name, fixed = (step.moves[-1].name, {}) if again else self._choice(how, block.chat)
        move = Move(name, self._arguments(name, how, block.chat) | fixed)
        step.moves.append(move)
        try:
            block.do(name, move.arguments)
        except Refused as refused:
            if not (refused.usable and how.one_in(2)):
                raise
            move.caught = refused

    def _choice(self, how: Digits, chat: ChatModel) -> tuple[str, dict[str, Any]]:
        if how.one_in(20):
            return SHOUT if how.one_in(20) else how.of(CALLS)
        if chat.status == "running" and chat.client_calls() and how.one_in(2):
            return "enter_requires_action", {}
        for _ in range(4):
            choice = how.of(LIKELY[chat.state])
            if not self._is_vain(choice[0], chat) or how.one_in(8):
                break
        return choice

    def _is_vain(self, name: str, chat: ChatModel) -> bool:
        """Allowed by the table, refused for another reason."""
        members = [chat, *(self.world.chats[child] for child in self.world.descendants(chat.name))]
        return {
            "enter_requires_action": not chat.client_calls(),
            "absorb_steering": not any(queued.steering for queued in chat.queue),
            "abandon": chat.runner_id is None,
            "send_message": len(chat.queue) >= self.world.queue_limit,
            "set_archived": chat.root is not None or any(member.state[0] in "RIA" for member in members),
        }.get(name, False)

    def _arguments(self, name: str, how: Digits, chat: ChatModel) -> dict[str, Any]:
        messages = self._messages
        match name:
            case "send_message":
                return messages.said(how)
            case "edit_message":
                return {"message_id": self._message_id(how, chat), **messages.said(how), "suffix": messages.suffix(how)}
            case "update_queued_message":
                change: dict[str, Any] = {"queued_id": self._queued_id(how, chat)}
                change |= {"position": how.below(len(chat.queue) + 2)} if how.one_in(2) else {}
                return change | how.of(
                    ({"parts": messages.parts(how)}, {}, {"parts": chat.queue[0].parts} if chat.queue else {})
                )
            case "delete_queued_message" | "promote_queued_message":
                return {"queued_id": self._queued_id(how, chat)}
            case "clear_context":
                return {"boundary": messages.suffix(how) or [messages.compaction()[0]]}
            case "record_retry_state":
                return {"retry_state": {"attempt": how.of((1, 2))}}
            case "commit_step":
                return {"messages": messages.step(how, chat), "consumes_compaction": how.one_in(3)}
            case "finish_error":
                return {"error": {"message": how.of(("it broke", "it broke again")), "kind": "generic"}}
            case "finish_interruption":
                return {"partial": messages.partial(how, chat)}
            case "complete_requires_action":
                return {"results": messages.client_results(how, chat), "suffix": messages.suffix(how)}
            case "cancel_requires_action":
                return how.of(({}, {"reason": "worker lost, outcome unknown"}))
            case "set_archived":
                return {"archived": how.of((True, False))}
            case "acquire":
                return dict(zip(("worker_id", "runner_id"), how.of(OWNERS), strict=True))
            case "reconcile_invalid_state":
                return how.of(({}, {"error": {"message": "reconciled", "kind": "generic"}}))
        return {}

    def _message_id(self, how: Digits, chat: ChatModel) -> int:
        """Mostly a user's message of the history, rather a late one; else any row of any chat, or none."""
        rows = [row for row in reversed(chat.history) if row.id is not None]
        said = [row for row in rows if row.role == "user" and not row.deleted and row.visibility != "model"]
        if how.one_in(4):
            others = [row for other in self.world.chats.values() for row in other.history if other.name != chat.name]
            rows = how.of((rows, rows, others))
            return how.of(rows).id or 0 if rows else 0
        return how.of(said[:3] if how.below(3) else said).id or 0 if said else 0

    def _queued_id(self, how: Digits, chat: ChatModel) -> int:
        """Mostly a message of the queue; else one that has just left it, one of another chat, or none."""
        of_all = [queued.id for other in self.world.chats.values() for queued in other.queue]
        ids = of_all if how.one_in(8) else [queued.id for queued in chat.queue if queued.id is not None]
        return how.of(ids) or 0 if ids else 0

    # --- past the door -----------------------------------------------------------------------------------------

    def _by_hand(self, how: Digits, chat: ChatModel) -> Step:
        """Rows changed by raw SQL: `chat` columns or leases. Mostly into an invalid state."""
        statuses = ("running", "interrupting", "requires_action", "waiting", "paused", "error")
        changes = {"status": how.of(statuses), "archived": how.of((True, False))}
        idle_child = chat.root is not None and chat.state in ("W", "E0", "E1")
        what = how.of(("state", "stale", "pin", "state", "gone", "another's", "alone"))
        if what == "state" and (changes["status"], changes["archived"], bool(chat.queue)) not in STATES:
            arguments = changes
        elif what == "alone" and idle_child:
            arguments = {"archived": True}
        elif what in ("stale", "gone", "another's"):
            arguments = {"lease": what}
        else:
            arguments = {"pin_order": 3}
        match arguments.get("lease"):
            case "stale":
                chat.leases = {runner: (worker, False) for runner, (worker, _) in chat.leases.items()}
            case "gone":
                chat.leases = {}
            case "another's":
                chat.leases = {**chat.leases, OWNERS[2][1]: (OWNERS[2][0], True)}
            case _:
                for name, value in arguments.items():
                    setattr(chat, name, value)
        return Step("by_hand", chat.name, [Move("change", arguments)])
