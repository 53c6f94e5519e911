"""The effects table of the specification, copied by hand: what each transition changes from each state it may leave.

What a row does not name stays exactly as it was. The chats are those of `tests/factories.py`, with something in every
column, at snapshot 7; the usual history ends in two open calls, s1 for the server and c1 for the client.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chat import transitions
from chat.execution import State
from tests.factories import ANSWERED, CALLING, INVALID_ROWS, LIVE_STATES, RUNNER, SAID, WORKER
from tests.transition_calls import (
    NEW_RUNNER,
    NEW_WORKER,
    RESULTS,
    TEXT,
    Do,
    queued_at,
    said,
)

N, W, E0, E1, R0, R1, I0, I1, A0, A1, XW, XE0, XE1, INVALID = State

S = 8
"""The new snapshot version."""


@dataclass(frozen=True)
class DatabaseNow:
    """The database's time during the update, and so many seconds later."""

    after: int = 0


@dataclass
class Effect:
    """`changes`: columns of the chat; `added`: (role, in a word) of new messages; `hidden`: how many of the last
    messages are deleted; `queue` afterwards, None: as it was; `chat`: how it is made; `do`: where not as in `CALLS`.
    """

    name: str
    state: State
    changes: dict[str, Any] = field(default_factory=dict)
    added: Sequence[tuple[str, str]] = ()
    queue: Sequence[str] | None = None
    hidden: int = 0
    leases: Literal["kept", "gone", "new"] = "kept"
    chat: dict[str, Any] = field(default_factory=dict)
    do: Do | None = None
    case: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, [self.name, str(self.state), self.case]))


NEW_HISTORY = {"history_version": S, "generation_attempt": 0, "retry_state": None, "retry_state_version": S}
NEW_QUEUE = {"queue_version": S}
NO_MARK = {"compaction_requested_at": None}
NO_WAIT = {"requires_action_deadline_at": None, **NO_MARK}
WORKS = {"status": "running", "last_error": None, **NO_WAIT}
GOES_ON = {"status": "running", **NO_WAIT}
ITS_OPTIONS = {"options": {}}
"""Those of the message whose turn begins; these messages have none."""
FOUND = [("tool", "s1=found"), ("tool", "c1=found")]
BROKEN = {
    "message": "The chat was in an invalid state and has been stopped. Send a message to go on.",
    "kind": "generic",
    "retryable": True,
}


def closed(reason: str) -> list[tuple[str, str]]:
    return [("tool", f"s1!={reason}"), ("tool", f"c1!={reason}")]


BY_MESSAGE = closed("interrupted by new user message")
CLIENTS_BY_MESSAGE = BY_MESSAGE[1:]


def sends() -> Iterator[Effect]:
    for name in ("send_message_queue", "send_message_steer", "send_message_interrupt"):
        for state in (W, E0):
            yield Effect(name, state, NEW_HISTORY | WORKS | ITS_OPTIONS, [*BY_MESSAGE, ("user", "new")])
        for queued in (1, 2):
            yield Effect(
                name,
                E1,
                NEW_HISTORY | NEW_QUEUE | WORKS | ITS_OPTIONS,
                [*BY_MESSAGE, ("user", "queued 1")],
                [*["queued 2"][: queued - 1], "new"],
                chat={"queued": queued},
                case=str(queued),
            )
    for name in ("send_message_queue", "send_message_steer"):
        for state in (R0, I0, A0):
            yield Effect(name, state, NEW_QUEUE, queue=["new"])
        for state in (R1, I1, A1):
            yield Effect(name, state, NEW_QUEUE, queue=["queued 1", "new"])
    for state, queue in ((R0, ["new"]), (R1, ["queued 1", "new"]), (I0, ["new"]), (I1, ["queued 1", "new"])):
        yield Effect("send_message_interrupt", state, NEW_QUEUE | {"status": "interrupting"}, queue=queue)
    for state, queue in ((A0, ["new"]), (A1, ["queued 1", "new"])):
        yield Effect("send_message_interrupt", state, NEW_HISTORY | NEW_QUEUE | GOES_ON, CLIENTS_BY_MESSAGE, queue)


def edits() -> Iterator[Effect]:
    """Of the second thing said; in the second case the calls before it were never answered."""

    def edit(update: Any, user: Any) -> None:
        second = update.chat.messages.filter(role="user").order_by("id")[1]
        transitions.edit_message(update, message_id=second.pk, parts=TEXT, author=user)

    again = ("user", [{"type": "text", "text": "and then?"}])
    for state in (W, E0, E1, R0, R1, I0, I1, A0, A1):
        queue = NEW_QUEUE if str(state).endswith("1") else {}
        changes = NEW_HISTORY | queue | WORKS | ITS_OPTIONS
        new = ("user", "new")
        answered, open_calls = (SAID, ANSWERED, again, CALLING), (SAID, CALLING, again)
        yield Effect("edit_message", state, changes, [new], [], 2, do=edit, chat={"history": answered})
        yield Effect(
            "edit_message",
            state,
            changes,
            [*closed("interrupted by message edit"), new],
            [],
            1,
            do=edit,
            chat={"history": open_calls},
            case="open calls before",
        )


def queue_changes() -> Iterator[Effect]:
    def to(position: int, place: int) -> Do:
        return lambda update, _: transitions.update_queued_message(
            update, queued_id=queued_at(update, place), position=position
        )

    def same(update: Any, _: Any) -> None:
        parts = [{"type": "text", "text": "queued 1"}]
        transitions.update_queued_message(update, queued_id=queued_at(update, 1), parts=parts, position=1)

    def promote(place: int) -> Do:
        return lambda update, _: transitions.promote_queued_message(update, queued_id=queued_at(update, place))

    two, head, tail = {"queued": 2}, "the head", "the tail"
    for state in (E1, R1, I1, A1):
        yield Effect("update_queued_message", state, NEW_QUEUE, queue=["new"])
        yield Effect(
            "update_queued_message", state, NEW_QUEUE, queue=["queued 2", "queued 1"], do=to(1, 2), chat=two, case=tail
        )
        yield Effect("update_queued_message", state, do=same, case="nothing new")
        yield Effect("delete_queued_message", state, NEW_QUEUE, queue=[], case="the last")
        yield Effect("delete_queued_message", state, NEW_QUEUE, queue=["queued 2"], chat=two, case=head)
    for state in (E1, A1):
        changes = NEW_HISTORY | NEW_QUEUE | WORKS | ITS_OPTIONS
        for place, left, case in ((1, 2, head), (2, 1, tail)):
            yield Effect(
                "promote_queued_message",
                state,
                changes,
                [*BY_MESSAGE, ("user", f"queued {place}")],
                [f"queued {left}"],
                do=promote(place),
                chat=two,
                case=case,
            )
    for state in (R1, I1):
        stops = {"status": "interrupting"} | NO_MARK
        yield Effect("promote_queued_message", state, stops, chat=two, case=head)
        yield Effect(
            "promote_queued_message",
            state,
            stops | NEW_QUEUE,
            queue=["queued 2", "queued 1"],
            do=promote(2),
            chat=two,
            case=tail,
        )


def by_person() -> Iterator[Effect]:
    for state in (R0, R1):
        yield Effect("interrupt", state, NO_MARK | {"status": "interrupting"})
    for state in (A0, A1):
        yield Effect("interrupt", state, NEW_HISTORY | GOES_ON, [("tool", "c1!=interrupted by user")])
    nobodys = {"worker_id": None, "runner_id": None}
    for state in (W, E0, E1):
        changes = NEW_HISTORY | WORKS | nobodys | {"compaction_requested_at": DatabaseNow()}
        yield Effect("request_compaction", state, changes, leases="gone")
    for state in (W, E0):
        changes = NEW_HISTORY | NO_WAIT | {"status": "waiting", "last_error": None}
        boundary = ("user", "in short")
        yield Effect("clear_context", state, changes, [*closed("interrupted by user"), boundary])
        yield Effect(
            "clear_context", state, changes, [boundary], chat={"history": (SAID, ANSWERED)}, case="no open call"
        )


def by_runner() -> Iterator[Effect]:
    def consume(update: Any, _: Any) -> None:
        transitions.commit_step(update, RESULTS, consumes_compaction=True)

    for state in (R0, R1):
        attempt = {"generation_attempt": 3, "retry_state": None, "retry_state_version": S}
        yield Effect("record_generation_attempt", state, attempt)
        yield Effect("record_retry_state", state, {"retry_state": {"attempt": 3}, "retry_state_version": S})
        yield Effect("commit_step", state, NEW_HISTORY, FOUND)
        yield Effect("commit_step", state, NEW_HISTORY | NO_MARK, FOUND, do=consume, case="the compaction")
        deadline = {"requires_action_deadline_at": DatabaseNow(after=300)}
        yield Effect("enter_requires_action", state, deadline | NO_MARK | {"status": "requires_action"})
    history = {"history": (SAID, ANSWERED)}
    absorbs = NEW_HISTORY | NEW_QUEUE
    yield Effect("absorb_steering", R1, absorbs, [("user", "queued 1")], [], chat=history | {"steering": (1,)})
    yield Effect(
        "absorb_steering",
        R1,
        absorbs,
        [("user", "queued 1"), ("user", "queued 3")],
        ["queued 2"],
        chat=history | {"queued": 3, "steering": (1, 3)},
        case="two of three",
    )


def ends() -> Iterator[Effect]:
    def complete(update: Any, _: Any) -> None:
        results = [{"tool_call_id": "c1", "output": "yes"}]
        transitions.complete_requires_action(update, results, suffix=[RESULTS[0], said("go on")])

    for state in (A0, A1):
        yield Effect("complete_requires_action", state, NEW_HISTORY | GOES_ON, [("tool", "c1=yes")])
        yield Effect(
            "complete_requires_action",
            state,
            NEW_HISTORY | GOES_ON,
            [("tool", "c1=yes"), FOUND[0], ("user", "go on")],
            do=complete,
            case="suffix",
        )
        yield Effect("cancel_requires_action", state, NEW_HISTORY | GOES_ON, [("tool", "c1!=timed out")])
    for state in (W, R0, R1):
        yield Effect("finish_error", state, NO_MARK | {"status": "error", "last_error": {"message": "worse"}})
    yield Effect("finish_turn", R0, NO_MARK | {"status": "waiting"})
    stopped = [*FOUND, ("assistant", "answer")]
    yield Effect("finish_interruption", I0, NEW_HISTORY | NO_MARK | {"status": "waiting"}, stopped)

    def nothing(update: Any, _: Any) -> None:
        transitions.finish_interruption(update, [])

    answered = {"history": (SAID, ANSWERED)}
    yield Effect(
        "finish_interruption", I0, NO_MARK | {"status": "waiting"}, do=nothing, chat=answered, case="nothing to keep"
    )
    next_turn = NEW_HISTORY | NEW_QUEUE | NO_MARK | ITS_OPTIONS | {"status": "running"}
    for queued in (1, 2):
        more, queue = {"queued": queued}, ["queued 2"][: queued - 1]
        head = ("user", "queued 1")
        yield Effect("finish_turn", R1, next_turn, [*BY_MESSAGE, head], queue, chat=more, case=str(queued))
        yield Effect("finish_interruption", I1, next_turn, [*stopped, head], queue, chat=more, case=str(queued))
        yield Effect(
            "finish_interruption",
            I1,
            next_turn,
            [head],
            queue,
            do=nothing,
            chat=answered | more,
            case=f"nothing to keep, {queued}",
        )


def housekeeping() -> Iterator[Effect]:
    for state in (W, E0, E1):
        yield Effect("set_archived_true", state, {"archived": True, "pin_order": 0})
    for state in (XW, XE0, XE1):
        yield Effect("set_archived_false", state, {"archived": False})

    def explain(update: Any, _: Any) -> None:
        transitions.reconcile_invalid_state(update, {"message": "put right by hand"})

    for case, (status, archived, queued) in INVALID_ROWS.items():
        row = {"row": (status, archived), "queued": queued}
        stops = NO_WAIT | {"status": "error", "archived": False, "last_error": BROKEN}
        canceled = ("tool", "c1!=canceled due to invalid chat state")
        yield Effect("reconcile_invalid_state", INVALID, NEW_HISTORY | stops, [canceled], chat=row, case=case)
        yield Effect(
            "reconcile_invalid_state",
            INVALID,
            stops | {"last_error": {"message": "put right by hand"}},
            chat=row | {"history": (SAID, ANSWERED)},
            do=explain,
            case=f"{case}, no open call",
        )


def ownership() -> Iterator[Effect]:
    cases: list[tuple[State, dict[str, Any], str]] = [(state, {}, "") for state in LIVE_STATES if state is not INVALID]
    for case, (status, archived, queued) in INVALID_ROWS.items():
        cases.append((INVALID, {"row": (status, archived), "queued": queued}, case))
    for state, chat, case in cases:
        new, gone = {"worker_id": NEW_WORKER, "runner_id": NEW_RUNNER}, {"worker_id": None, "runner_id": None}
        yield Effect("acquire", state, new, leases="new", chat=chat, case=case)
        yield Effect("abandon", state, gone, leases="gone", chat=chat, case=case)


EFFECTS = [
    effect
    for part in (sends, edits, queue_changes, by_person, by_runner, ends, housekeeping, ownership)
    for effect in part()
]

OWNERS = {"kept": [(WORKER, RUNNER)], "gone": [], "new": [(NEW_WORKER, NEW_RUNNER)]}
"""The leases of a chat afterwards."""
