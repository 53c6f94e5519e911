"""Every transition in every state: where it leads, what it changes, and that a refusal changes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from chat import transitions
from chat.catalogue import register_model
from chat.errors import (
    BusyBehaviorUnknown,
    ChatNotFound,
    ChatRefusal,
    HistoryNotWellFormed,
    InvalidState,
    MessageInvalid,
    ModelUnknown,
    QueueFull,
    TransitionNotAllowed,
)
from chat.execution import RUNNABLE, State, Transition, classify
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.transitions import NewMessage
from chat.update import BrokenInvariant, ChatUpdate, chat_update
from tests.factories import (
    ANSWERED,
    CALLING,
    CLIENT_CALL,
    LIVE_STATES,
    RUNNER,
    SAID,
    SERVER_CALL,
    SOME_DAY,
    WORKER,
    chat_in,
    chat_row,
    has_queue,
    history_of,
    nowhere,
    photograph,
    queue_of,
)
from tests.table import output

pytestmark = pytest.mark.django_db

N, W, E0, E1, R0, R1, I0, I1, A0, A1, XW, XE0, XE1, INVALID = State
NEW_WORKER, NEW_RUNNER = UUID(int=11), UUID(int=12)
TEXT = [{"type": "text", "text": "new"}]
ANSWER = NewMessage("assistant", [{"type": "text", "text": "answer"}], model="demo:demo", usage={"output_tokens": 3})


def result_for(call: dict[str, Any], output: str = "found") -> NewMessage:
    part = {"type": "tool_result", "tool_call_id": call["tool_call_id"], "tool_name": call["tool_name"]}
    return NewMessage("tool", [part | {"output": output, "is_error": False, "synthetic": False}])


RESULTS = [result_for(SERVER_CALL), result_for(CLIENT_CALL)]
Do = Callable[[ChatUpdate, Any], Any]


def _create(update: ChatUpdate, _: Any) -> None:
    with update.moving(Transition.CREATE):
        raise AssertionError("the table lets an existing chat be created")


def _send(behavior: str) -> Do:
    return lambda update, user: transitions.send_message(update, parts=TEXT, author=user, busy_behavior=behavior)


DO: dict[Transition, Do] = {
    Transition.CREATE: _create,
    Transition.SEND_MESSAGE_QUEUE: _send("queue"),
    Transition.SEND_MESSAGE_INTERRUPT: _send("interrupt"),
    Transition.INTERRUPT: lambda update, _: transitions.interrupt(update),
    Transition.RECORD_GENERATION_ATTEMPT: lambda update, _: transitions.record_generation_attempt(update),
    Transition.RECORD_RETRY_STATE: lambda update, _: transitions.record_retry_state(update, {"attempt": 3}),
    Transition.COMMIT_STEP: lambda update, _: transitions.commit_step(update, RESULTS),
    Transition.FINISH_TURN: lambda update, _: transitions.finish_turn(update),
    Transition.FINISH_ERROR: lambda update, _: transitions.finish_error(update, {"message": "worse"}),
    Transition.FINISH_INTERRUPTION: lambda update, _: transitions.finish_interruption(update, [*RESULTS, ANSWER]),
    Transition.ACQUIRE: lambda update, _: transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER),
    Transition.ABANDON: lambda update, _: transitions.abandon(update),
}
"""Each transition that has a function, as it is called on a chat whose last message waits for two tool results."""


def state_of(chat_id: UUID) -> State:
    row = chat_row(chat_id)
    return classify(row["status"], row["archived"], len(queue_of(chat_id)))


# --- where it leads ---------------------------------------------------------------------------------------------


def _cells() -> Iterator[Any]:
    for transition in DO:
        for state in LIVE_STATES:
            for queued in (1, 2) if has_queue(state) else (0,):
                yield pytest.param(transition, state, queued, id=f"{transition}-{state}-{queued}")


@pytest.mark.parametrize(("transition", "state", "queued"), list(_cells()))
def test_a_transition_leads_where_the_table_says_or_changes_nothing(
    transition: Transition,
    state: State,
    queued: int,
    user: Any,
    published: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    chat_id = chat_in(state, user, queued=queued)
    before, versions = photograph(), chat_row(chat_id)
    if output(transition, state, queued_afterwards=0) is None:
        with (
            django_capture_on_commit_callbacks(execute=True),
            pytest.raises(TransitionNotAllowed) as refusal,
            chat_update(chat_id) as update,
        ):
            DO[transition](update, user)
        assert type(refusal.value) is (InvalidState if state is INVALID else TransitionNotAllowed)
        assert refusal.value.details == {"transition": str(transition), "state": str(state)}
        assert photograph() == before
        assert published == []
        return

    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        DO[transition](update, user)
        assert photograph() == before  # nothing is written before the block ends

    arrived = output(transition, state, queued_afterwards=len(queue_of(chat_id)))
    assert state_of(chat_id) is arrived
    assert chat_row(chat_id)["snapshot_version"] == versions["snapshot_version"] + 1
    assert published[0] == ("update", chat_id, str(arrived))
    wake_ups = [("wake-up", chat_id)] if arrived in RUNNABLE and transition is Transition.ABANDON else []
    assert published[1:] == wake_ups  # in all other cases the owner's lease is fresh


@pytest.mark.parametrize("transition", list(DO))
def test_a_chat_that_does_not_exist_allows_nothing(transition: Transition, user: Any, published: list[Any]) -> None:
    before = photograph()
    with pytest.raises(ChatNotFound), chat_update(nowhere()) as update:
        DO[transition](update, user)
    assert photograph() == before
    assert published == []


def test_create_makes_a_running_chat_that_nobody_owns(
    user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        chat = transitions.create_chat(owner=user, parts=TEXT, labels=["a"], system="be brief")
    row = chat_row(chat.pk)
    assert state_of(chat.pk) is R0
    assert (row["snapshot_version"], row["history_version"], row["queue_version"]) == (1, 1, 0)
    assert (row["generation_attempt"], row["retry_state"], row["retry_state_version"]) == (0, None, 0)
    assert {
        row[name]
        for name in (
            "worker_id", "runner_id", "parent_id", "last_error", "requires_action_deadline_at",
            "compaction_requested_at",
        )
    } == {None}  # fmt: skip
    assert (row["owner_id"], row["model"], row["labels"], row["system"]) == (user.pk, "demo:demo", ["a"], "be brief")
    message = ChatMessage.objects.get(chat=chat)
    assert (message.role, message.parts, message.created_by, message.revision) == ("user", TEXT, user, 1)
    assert published == [("update", chat.pk, "R0"), ("wake-up", chat.pk)]


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"parts": []}, MessageInvalid),
        ({"parts": [{"type": "text", "text": "  "}]}, MessageInvalid),
        ({"parts": [{"type": "text", "text": "a\x00b"}]}, MessageInvalid),
        ({"parts": TEXT, "model": "demo:other"}, ModelUnknown),
    ],
)
def test_a_chat_that_cannot_begin_is_not_created(
    arguments: dict[str, Any], refusal: type[Exception], user: Any, published: list[Any]
) -> None:
    with pytest.raises(refusal):
        transitions.create_chat(owner=user, **arguments)
    assert photograph() == []
    assert published == []


# --- what it changes --------------------------------------------------------------------------------------------

S = 8
"""The new snapshot version: the chats of `tests/factories.py` stand at 7."""
NEW_HISTORY = {"history_version": S, "generation_attempt": 0, "retry_state": None, "retry_state_version": S}
NEW_QUEUE = {"queue_version": S}
NO_MARK = {"compaction_requested_at": None}
NO_WAIT = {"requires_action_deadline_at": None, **NO_MARK}
WORKS = {"status": "running", "last_error": None, **NO_WAIT}
ALL_CLOSED = [("tool", "s1!=interrupted by new user message"), ("tool", "c1!=interrupted by new user message")]
FOUND = [("tool", "s1=found"), ("tool", "c1=found")]


@dataclass
class Effect:
    """A row of the effects table. `changes`: columns of the chat; every column not named stays as it was."""

    transition: Transition
    state: State
    changes: dict[str, Any] = field(default_factory=dict)
    added: Sequence[tuple[str, str]] = ()
    queued: int | None = None
    queue: Sequence[str] | None = None
    """The queue afterwards; None: as it was."""

    def __str__(self) -> str:
        return f"{self.transition}-{self.state}-{len(self.queue) if self.queue is not None else ''}"


T = Transition
EFFECTS = [
    *(
        Effect(send, state, NEW_HISTORY | WORKS, [*ALL_CLOSED, ("user", "new")])
        for send in (T.SEND_MESSAGE_QUEUE, T.SEND_MESSAGE_INTERRUPT)
        for state in (W, E0)
    ),
    *(
        Effect(
            send,
            E1,
            NEW_HISTORY | NEW_QUEUE | WORKS,
            [*ALL_CLOSED, ("user", "queued 1")],
            queued=2,
            queue=["queued 2", "new"],
        )
        for send in (T.SEND_MESSAGE_QUEUE, T.SEND_MESSAGE_INTERRUPT)
    ),
    *(Effect(T.SEND_MESSAGE_QUEUE, state, NEW_QUEUE, queue=["new"]) for state in (R0, I0, A0)),
    *(Effect(T.SEND_MESSAGE_QUEUE, state, NEW_QUEUE, queue=["queued 1", "new"]) for state in (R1, I1, A1)),
    Effect(T.SEND_MESSAGE_INTERRUPT, R0, NEW_QUEUE | {"status": "interrupting"}, queue=["new"]),
    Effect(T.SEND_MESSAGE_INTERRUPT, R1, NEW_QUEUE | {"status": "interrupting"}, queue=["queued 1", "new"]),
    Effect(T.SEND_MESSAGE_INTERRUPT, I0, NEW_QUEUE, queue=["new"]),
    Effect(T.SEND_MESSAGE_INTERRUPT, I1, NEW_QUEUE, queue=["queued 1", "new"]),
    *(
        Effect(
            T.SEND_MESSAGE_INTERRUPT,
            state,
            NEW_HISTORY | NEW_QUEUE | NO_WAIT | {"status": "running"},
            [("tool", "c1!=interrupted by new user message")],
            queue=queue,
        )
        for state, queue in ((A0, ["new"]), (A1, ["queued 1", "new"]))
    ),
    *(Effect(T.INTERRUPT, state, NO_MARK | {"status": "interrupting"}) for state in (R0, R1)),
    *(
        Effect(
            T.INTERRUPT,
            state,
            NEW_HISTORY | NO_WAIT | {"status": "running"},
            [("tool", "c1!=interrupted by user")],
        )
        for state in (A0, A1)
    ),
    *(
        Effect(
            T.RECORD_GENERATION_ATTEMPT,
            state,
            {"generation_attempt": 3, "retry_state": None, "retry_state_version": S},
        )
        for state in (R0, R1)
    ),
    *(
        Effect(T.RECORD_RETRY_STATE, state, {"retry_state": {"attempt": 3}, "retry_state_version": S})
        for state in (R0, R1)
    ),
    *(Effect(T.COMMIT_STEP, state, NEW_HISTORY, FOUND) for state in (R0, R1)),
    Effect(T.FINISH_TURN, R0, NO_MARK | {"status": "waiting"}),
    *(
        Effect(
            T.FINISH_TURN,
            R1,
            NEW_HISTORY | NEW_QUEUE | NO_MARK,
            [*ALL_CLOSED, ("user", "queued 1")],
            queued=queued,
            queue=["queued 2"][: queued - 1],
        )
        for queued in (1, 2)
    ),
    *(
        Effect(T.FINISH_ERROR, state, NO_MARK | {"status": "error", "last_error": {"message": "worse"}})
        for state in (W, R0, R1)
    ),
    Effect(
        T.FINISH_INTERRUPTION,
        I0,
        NEW_HISTORY | NO_MARK | {"status": "waiting"},
        [*FOUND, ("assistant", "answer")],
    ),
    *(
        Effect(
            T.FINISH_INTERRUPTION,
            I1,
            NEW_HISTORY | NEW_QUEUE | NO_MARK | {"status": "running"},
            [*FOUND, ("assistant", "answer"), ("user", "queued 1")],
            queued=queued,
            queue=["queued 2"][: queued - 1],
        )
        for queued in (1, 2)
    ),
    *(Effect(T.ACQUIRE, state, {"worker_id": NEW_WORKER, "runner_id": NEW_RUNNER}) for state in LIVE_STATES),
    *(Effect(T.ABANDON, state, {"worker_id": None, "runner_id": None}) for state in LIVE_STATES),
]


def test_the_effects_cover_every_allowed_cell() -> None:
    covered = {(effect.transition, effect.state) for effect in EFFECTS}
    assert covered == {(t, s) for t in DO for s in LIVE_STATES if output(t, s, queued_afterwards=0) is not None}


@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_a_transition_changes_what_the_effects_table_says_and_nothing_else(effect: Effect, user: Any) -> None:
    chat_id = chat_in(effect.state, user, queued=effect.queued)
    before, history, queue = chat_row(chat_id), history_of(chat_id), queue_of(chat_id)
    old_rows = list(ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values())
    with chat_update(chat_id) as update:
        DO[effect.transition](update, user)
    after = chat_row(chat_id)

    assert after.pop("updated_at") > before.pop("updated_at")
    for row in (before, after):
        del row["snapshot_xid"]
    assert after == before | {"snapshot_version": S} | effect.changes
    assert history_of(chat_id) == [*history, *effect.added]
    assert queue_of(chat_id) == (queue if effect.queue is None else list(effect.queue))
    rows = list(ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values())
    assert rows[: len(old_rows)] == old_rows
    assert [row["revision"] for row in rows[len(old_rows) :]] == [S] * len(effect.added)
    assert update.chat.retry_state_version == after["retry_state_version"]  # what is published is what is stored


@pytest.mark.parametrize("state", LIVE_STATES)
def test_an_owner_has_the_only_lease_and_an_unowned_chat_has_none(state: State, user: Any) -> None:
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
    lease = RunnerLease.objects.get(chat_id=chat_id)
    assert (lease.worker_id, lease.runner_id) == (NEW_WORKER, NEW_RUNNER)
    with chat_update(chat_id) as update:
        transitions.abandon(update)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()


def test_a_takeover_that_ends_at_once_leaves_no_lease(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
        transitions.finish_error(update, {"message": "no model"})
        transitions.abandon(update)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()


def test_an_owner_who_acquires_again_gets_a_fresh_lease(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user)
    RunnerLease.objects.filter(chat_id=chat_id).update(heartbeat_at=SOME_DAY)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=WORKER, runner_id=RUNNER)
    lease = RunnerLease.objects.get(chat_id=chat_id)
    assert (lease.worker_id, lease.runner_id) == (WORKER, RUNNER)
    assert lease.heartbeat_at > SOME_DAY


@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_chat_that_nobody_owns_cannot_be_abandoned(state: State, user: Any) -> None:
    chat_id = chat_in(state, user, owned=False)
    before = photograph()
    with pytest.raises(TransitionNotAllowed), chat_update(chat_id) as update:
        transitions.abandon(update)
    assert photograph() == before


# --- several in one transaction ---------------------------------------------------------------------------------


def test_a_step_and_the_attempt_that_follows_it_share_a_transaction(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, RESULTS)
        assert transitions.record_generation_attempt(update) == 1
    row = chat_row(chat_id)
    assert (row["history_version"], row["generation_attempt"], row["retry_state"]) == (S, 1, None)
    assert update.chat.updated_at == row["updated_at"]


def test_a_second_attempt_of_a_new_history_is_not_taken_for_the_old_one(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, RESULTS)
        transitions.record_generation_attempt(update)
        assert transitions.record_generation_attempt(update) == 2  # the number that the row has already
    assert chat_row(chat_id)["generation_attempt"] == 2


def test_an_attempt_and_its_retry_state_share_a_transaction(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.record_generation_attempt(update)
        transitions.record_retry_state(update, {"attempt": 3})
    row = chat_row(chat_id)
    assert (row["generation_attempt"], row["retry_state"], row["retry_state_version"]) == (3, {"attempt": 3}, S)
    assert update.chat.retry_state_version == S


def test_the_same_retry_state_again_is_no_news(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.record_retry_state(update, {"attempt": 2})
    assert chat_row(chat_id)["retry_state_version"] == 6


def test_a_whole_turn_in_one_transaction_moves_the_snapshot_once(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=2)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, RESULTS)
        transitions.commit_step(update, [ANSWER])
        transitions.finish_turn(update)
        transitions.record_generation_attempt(update)
        transitions.abandon(update)
    row = chat_row(chat_id)
    assert (row["snapshot_version"], row["history_version"], row["queue_version"]) == (S, S, S)
    assert (row["generation_attempt"], row["runner_id"]) == (1, None)
    assert history_of(chat_id)[2:] == [*FOUND, ("assistant", "answer"), ("user", "queued 1")]
    assert set(ChatMessage.objects.filter(chat_id=chat_id, id__gt=0).values_list("revision", flat=True)) == {3, S}


def test_a_stop_without_a_worker_is_one_transaction(user: Any) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
        transitions.finish_interruption(update, [ANSWER])
    assert state_of(chat_id) is W
    assert history_of(chat_id) == [("user", "hello"), ("assistant", "answer")]


# --- what is refused --------------------------------------------------------------------------------------------


def refused(chat_id: UUID, refusal: type[Exception], do: Callable[[ChatUpdate], Any]) -> Any:
    """`do` is refused with `refusal`, and nothing changed."""
    before = photograph()
    with pytest.raises(refusal) as caught, chat_update(chat_id) as update:
        do(update)
    assert photograph() == before
    return caught.value


@pytest.mark.parametrize("state", [state for state in LIVE_STATES if state is not INVALID])
@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"busy_behavior": "shout"}, BusyBehaviorUnknown),
        ({"parts": []}, MessageInvalid),
        ({"parts": [{"type": "tool_call", "tool_call_id": "x", "tool_name": "y"}]}, MessageInvalid),
        ({"model": "demo:nobody"}, ModelUnknown),
    ],
    ids=["behaviour", "nothing", "not a user's part", "model"],
)
def test_a_message_that_no_state_takes_is_refused_in_every_state(
    state: State, arguments: dict[str, Any], refusal: type[ChatRefusal], user: Any
) -> None:
    chat_id = chat_in(state, user)
    refused(
        chat_id,
        refusal,
        lambda update: transitions.send_message(update, **{"parts": TEXT, "author": user} | arguments),
    )


@pytest.mark.parametrize("behavior", ["queue", "interrupt"])
@pytest.mark.parametrize("state", [E1, R1, I1, A1])
def test_a_full_queue_takes_no_more_not_even_where_its_head_would_leave(
    state: State, behavior: str, user: Any, settings: Any
) -> None:
    settings.CHATD_QUEUE_LIMIT = 3
    chat_id = chat_in(state, user, queued=3)
    error = refused(chat_id, QueueFull, lambda update: _send(behavior)(update, user))
    assert error.details == {"limit": 3}


def test_the_last_free_place_of_the_queue_is_taken(user: Any, settings: Any) -> None:
    settings.CHATD_QUEUE_LIMIT = 3
    chat_id = chat_in(R1, user, queued=2)
    with chat_update(chat_id) as update:
        _send("queue")(update, user)
    assert queue_of(chat_id) == ["queued 1", "queued 2", "new"]


STEPS: list[tuple[str, Sequence[NewMessage], type[ChatRefusal]]] = [
    ("no message", [], MessageInvalid),
    ("a message without a part", [NewMessage("assistant", [])], MessageInvalid),
    ("a result twice", [RESULTS[0], RESULTS[0]], HistoryNotWellFormed),
    ("a result twice in one message", [NewMessage("tool", RESULTS[0].parts * 2)], HistoryNotWellFormed),
    ("a result of no call", [result_for(SERVER_CALL | {"tool_call_id": "s9"})], HistoryNotWellFormed),
    ("a result of no call after a right one", [*RESULTS, RESULTS[1]], HistoryNotWellFormed),
    ("an answer before the results", [ANSWER], HistoryNotWellFormed),
    ("an answer before the last result", [RESULTS[0], ANSWER], HistoryNotWellFormed),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "refusal"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
def test_a_step_that_would_spoil_the_history_is_refused(
    messages: Sequence[NewMessage], refusal: type[ChatRefusal], user: Any
) -> None:
    refused(chat_in(R0, user), refusal, lambda update: transitions.commit_step(update, messages))


@pytest.mark.parametrize("state", [I0, I1])
@pytest.mark.parametrize(
    "partial", [[], RESULTS[:1], [*RESULTS, NewMessage("assistant", [SERVER_CALL])]], ids=["all", "one", "a new one"]
)
def test_an_interruption_that_leaves_a_call_open_is_refused(
    state: State, partial: Sequence[NewMessage], user: Any
) -> None:
    chat_id = chat_in(state, user)
    refused(chat_id, HistoryNotWellFormed, lambda update: transitions.finish_interruption(update, partial))


def test_an_interruption_with_nothing_to_keep_leaves_the_history_as_it_is(user: Any) -> None:
    chat_id = chat_in(I0, user, history=(SAID,))
    before = chat_row(chat_id)
    with chat_update(chat_id) as update:
        transitions.finish_interruption(update, [])
    after = chat_row(chat_id)
    unchanged = ("history_version", "queue_version", "generation_attempt", "retry_state", "retry_state_version")
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]
    assert (state_of(chat_id), after["compaction_requested_at"]) == (W, None)


def test_a_call_that_the_provider_executed_is_never_outstanding(user: Any) -> None:
    calling = ("assistant", [{**SERVER_CALL, "provider_executed": True}])
    chat_id = chat_in(W, user, history=(SAID, calling))
    with chat_update(chat_id) as update:
        _send("queue")(update, user)
    assert history_of(chat_id)[2:] == [("user", "new")]


def test_a_result_given_earlier_is_not_given_again(user: Any) -> None:
    chat_id = chat_in(W, user, history=(SAID, CALLING, ("tool", result_for(SERVER_CALL).parts)))
    with chat_update(chat_id) as update:
        _send("queue")(update, user)
    assert history_of(chat_id)[3:] == [("tool", "c1!=interrupted by new user message"), ("user", "new")]


def test_a_synthetic_result_says_what_it_is_and_everyone_sees_it(user: Any) -> None:
    chat_id = chat_in(W, user)
    with chat_update(chat_id) as update:
        _send("queue")(update, user)
    message = ChatMessage.objects.filter(chat_id=chat_id, role="tool").earliest("id")
    assert message.visibility == "both"
    assert message.parts == [
        {
            "type": "tool_result",
            "tool_call_id": "s1",
            "tool_name": "search",
            "output": "interrupted by new user message",
            "is_error": True,
            "synthetic": True,
        }
    ]


# --- what a queued message keeps --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "promote"),
    [
        (R0, lambda update, _: transitions.finish_turn(update)),
        (I0, lambda update, _: transitions.finish_interruption(update, [])),
        (E0, _send("queue")),
    ],
    ids=["the turn ends", "the interruption ends", "the error is left"],
)
def test_author_and_model_of_a_queued_message_survive_its_promotion(
    state: State, promote: Do, user: Any, other_user: Any
) -> None:
    register_model("demo:second")
    chat_id = chat_in(R0 if state is E0 else state, user, history=(SAID, ANSWERED))
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=other_user, model="demo:second")
        assert update.chat.model == "demo:demo"  # until the message's turn comes
        if state is E0:
            transitions.finish_error(update, {"message": "it broke"})
    with chat_update(chat_id) as update:
        promote(update, user)
    message = ChatMessage.objects.filter(chat_id=chat_id).latest("id")
    assert (message.parts, message.created_by) == (TEXT, other_user)
    assert Chat.objects.get(pk=chat_id).model == "demo:second"


def test_queued_messages_enter_history_first_in_first_out(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=3, history=(SAID, ANSWERED))
    for _ in range(3):
        with chat_update(chat_id) as update:
            transitions.finish_turn(update)
            if update.queue:
                transitions.commit_step(update, [ANSWER])
    said = [text for role, text in history_of(chat_id) if role == "user"]
    assert said == ["hello", "queued 1", "queued 2", "queued 3"]


@pytest.mark.parametrize("state", [W, E0])
def test_a_message_may_choose_another_model_at_once(state: State, user: Any) -> None:
    register_model("demo:second")
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user, model="demo:second")
    assert Chat.objects.get(pk=chat_id).model == "demo:second"


def test_the_sender_gets_the_row_with_its_id_after_the_block(user: Any) -> None:
    idle, busy = chat_in(W, user), chat_in(R0, user)
    with chat_update(idle) as update:
        said = transitions.send_message(update, parts=TEXT, author=user)
    with chat_update(busy) as update:
        queued = transitions.send_message(update, parts=TEXT, author=user)
    assert said == ChatMessage.objects.filter(chat_id=idle).latest("id")
    assert queued == QueuedMessage.objects.get(chat_id=busy)


# --- the machine guards itself ----------------------------------------------------------------------------------


def test_a_transition_that_leaves_the_table_is_a_bug_and_writes_nothing(user: Any) -> None:
    def leave(update: ChatUpdate) -> None:
        with update.moving(Transition.INTERRUPT):
            update.chat.status = "waiting"

    refused(chat_in(R1, user), BrokenInvariant, leave)


def test_a_state_that_changed_without_a_transition_is_not_written(user: Any) -> None:
    def by_hand(update: ChatUpdate) -> None:
        transitions.record_generation_attempt(update)
        update.chat.status = "waiting"

    refused(chat_in(R0, user), BrokenInvariant, by_hand)


def test_a_transition_that_failed_half_way_cannot_be_committed_by_a_caller_who_looks_away(user: Any) -> None:
    def look_away(update: ChatUpdate) -> None:
        with pytest.raises(HistoryNotWellFormed):
            transitions.finish_interruption(update, RESULTS[:1])

    refused(chat_in(I0, user), BrokenInvariant, look_away)


def test_a_refusal_at_departure_leaves_the_block_usable(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        with pytest.raises(TransitionNotAllowed):
            transitions.finish_interruption(update, [])
        transitions.interrupt(update)
    assert state_of(chat_id) is I0


# --- what it costs ----------------------------------------------------------------------------------------------

STATEMENTS = {
    (T.SEND_MESSAGE_QUEUE, W): 5,
    (T.SEND_MESSAGE_QUEUE, R0): 4,
    (T.SEND_MESSAGE_INTERRUPT, E1): 7,
    (T.INTERRUPT, R0): 3,
    (T.RECORD_GENERATION_ATTEMPT, R0): 3,
    (T.RECORD_RETRY_STATE, R0): 3,
    (T.COMMIT_STEP, R0): 5,
    (T.FINISH_TURN, R0): 3,
    (T.FINISH_TURN, R1): 6,
    (T.FINISH_ERROR, R0): 3,
    (T.FINISH_INTERRUPTION, I0): 5,
    (T.ACQUIRE, R0): 4,
    (T.ABANDON, R0): 4,
}
"""The transaction's begin and commit, which are savepoints here, not counted."""


@pytest.mark.parametrize(("transition", "state"), list(STATEMENTS), ids=lambda value: str(value))
def test_a_transition_costs_a_fixed_number_of_statements(transition: Transition, state: State, user: Any) -> None:
    chat_id = chat_in(state, user)
    statements: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        statements.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(note), chat_update(chat_id) as update:
        DO[transition](update, user)
    work = [sql for sql in statements if "SAVEPOINT" not in sql]
    assert len(work) == STATEMENTS[transition, state], work
