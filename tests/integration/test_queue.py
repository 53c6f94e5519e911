"""What waits in a queue: its order, what may be changed about it, and what a message keeps until it is said."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from chat import transitions
from chat.catalogue import register_model
from chat.errors import (
    HistoryNotWellFormed,
    MessageInvalid,
    NothingToAbsorb,
    PositionInvalid,
    QueuedMessageNotFound,
)
from chat.execution import State
from chat.models import ChatMessage, QueuedMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import ANSWERED, SAID, chat_in, chat_row, history_of, queue_of
from tests.transition_calls import ANSWER, RESULTS, TEXT, Do, queued_at, refused, send, state_of

pytestmark = pytest.mark.django_db

W, E0, E1, R0, R1, I0, I1, A0, A1 = (State(name) for name in ("W", "E0", "E1", "R0", "R1", "I0", "I1", "A0", "A1"))
WITH_QUEUE = [E1, R1, I1, A1]
THREE = ["queued 1", "queued 2", "queued 3"]


def without(place: int) -> list[str]:
    return [words for i, words in enumerate(THREE, start=1) if i != place]


def do(chat_id: UUID, transition: Callable[..., Any], place: int, **arguments: Any) -> Any:
    with chat_update(chat_id) as update:
        return transition(update, queued_id=queued_at(update, place), **arguments)


# --- promote ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("state", [R1, I1])
def test_in_a_busy_chat_the_promoted_message_becomes_the_head(state: State, place: int, user: Any) -> None:
    chat_id = chat_in(state, user, queued=3)
    promoted = do(chat_id, transitions.promote_queued_message, place)
    assert (promoted.parts[0]["text"], state_of(chat_id)) == (f"queued {place}", I1)
    assert queue_of(chat_id) == [f"queued {place}", *without(place)]
    assert chat_row(chat_id)["queue_version"] == (5 if place == 1 else 8)


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("state", [E1, A1])
def test_in_a_chat_that_stopped_or_waits_the_promoted_message_is_said(state: State, place: int, user: Any) -> None:
    chat_id = chat_in(state, user, queued=3, history=(SAID, ANSWERED))
    promoted = do(chat_id, transitions.promote_queued_message, place)
    assert history_of(chat_id)[2:] == [("user", f"queued {place}")]
    assert promoted == ChatMessage.objects.filter(chat_id=chat_id).latest("id")
    assert (queue_of(chat_id), state_of(chat_id)) == (without(place), R1)


# --- change -----------------------------------------------------------------------------------------------------


def _moves() -> Iterator[Any]:
    layouts = {"dense": (1, 2, 3), "ties": (5, 5, 5), "a tie at the tail": (1, 2, 2), "gaps": (-7, 0, 10**12)}
    for name, positions in layouts.items():
        for place in (1, 2, 3):
            for to in (1, 2, 3):
                yield pytest.param(positions, place, to, id=f"{name}: {place} to {to}")


@pytest.mark.parametrize(("positions", "place", "to"), list(_moves()))
def test_a_message_goes_to_the_place_that_it_is_given(
    positions: tuple[int, ...], place: int, to: int, user: Any
) -> None:
    chat_id = chat_in(R1, user, queued=3)
    with chat_update(chat_id) as update:
        for queued, position in zip(update.queue, positions, strict=True):
            queued.position = position
    before = {row["id"]: row for row in QueuedMessage.objects.filter(chat_id=chat_id).values()}
    assert [row["position"] for row in sorted(before.values(), key=lambda row: row["id"])] == list(positions)

    do(chat_id, transitions.update_queued_message, place, position=to)

    expected = without(place)
    expected.insert(to - 1, THREE[place - 1])
    assert queue_of(chat_id) == expected
    version = chat_row(chat_id)["snapshot_version"]
    assert (chat_row(chat_id)["queue_version"] == version) is (place != to)
    after = {row["id"]: row for row in QueuedMessage.objects.filter(chat_id=chat_id).values()}
    assert {known: row | {"position": 0} for known, row in after.items()} == {
        known: row | {"position": 0} for known, row in before.items()
    }
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    assert queue_of(chat_id) == [*expected, "new"]


def test_text_and_place_change_together_and_nothing_else_does(user: Any, other_user: Any) -> None:
    register_model("demo:second")
    chat_id = chat_in(R1, user, queued=2)
    options = {"temperature": 0.5}
    with chat_update(chat_id) as update:
        transitions.send_message(
            update, parts=TEXT, author=other_user, busy_behavior="steer", model="demo:second", options=options
        )
    before = QueuedMessage.objects.filter(chat_id=chat_id).latest("id")
    parts = [{"type": "text", "text": "said better"}]
    returned = do(chat_id, transitions.update_queued_message, 3, parts=parts, position=1)
    assert queue_of(chat_id) == ["said better", "queued 1", "queued 2"]
    after = QueuedMessage.objects.get(pk=before.pk)
    assert (returned.pk, returned.parts) == (after.pk, parts)
    kept = ("chat_id", "model", "options", "steering", "created_by_id", "created_at")
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (after.model, after.options, after.steering) == ("demo:second", options, True)


@pytest.mark.parametrize("state", WITH_QUEUE)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"parts": [{"type": "text", "text": "queued 2"}]}, {"position": 2}],
    ids=["nothing", "the same words", "the same place"],
)
def test_what_brings_nothing_new_moves_no_version_but_the_snapshot(
    state: State, arguments: dict[str, Any], user: Any
) -> None:
    chat_id = chat_in(state, user, queued=3)
    rows = list(QueuedMessage.objects.filter(chat_id=chat_id).order_by("id").values())
    do(chat_id, transitions.update_queued_message, 2, **arguments)
    assert list(QueuedMessage.objects.filter(chat_id=chat_id).order_by("id").values()) == rows
    row = chat_row(chat_id)
    assert (row["snapshot_version"], row["queue_version"], row["history_version"]) == (8, 5, 3)


@pytest.mark.parametrize("position", [0, -1, 4, 2**40])
@pytest.mark.parametrize("state", WITH_QUEUE)
def test_a_place_that_the_queue_does_not_have_is_refused(state: State, position: int, user: Any) -> None:
    chat_id = chat_in(state, user, queued=3)
    error = refused(
        chat_id,
        PositionInvalid,
        lambda update: transitions.update_queued_message(
            update, queued_id=queued_at(update, 1), parts=TEXT, position=position
        ),
    )
    assert error.details == {"last": 3}


def test_words_that_no_user_may_say_are_refused(user: Any) -> None:
    for parts in ([], [{"type": "text", "text": " "}], [{"type": "text", "text": "a\x00"}]):
        refused(
            chat_in(R1, user),
            MessageInvalid,
            lambda update, parts=parts: transitions.update_queued_message(
                update, queued_id=queued_at(update, 1), parts=parts
            ),
        )


def test_changes_of_one_transaction_add_up(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=3)
    with chat_update(chat_id) as update:
        first, second, third = (queued.pk for queued in update.queue)
        send("queue")(update, user)
        transitions.update_queued_message(update, queued_id=third, position=1)
        transitions.update_queued_message(update, queued_id=first, position=4)
        transitions.delete_queued_message(update, queued_id=second)
        send("queue")(update, user)
    assert queue_of(chat_id) == ["queued 3", "new", "queued 1", "new"]


# --- take back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("state", WITH_QUEUE)
def test_a_message_that_is_taken_back_leaves_the_others_in_their_order(state: State, place: int, user: Any) -> None:
    chat_id = chat_in(state, user, queued=3)
    do(chat_id, transitions.delete_queued_message, place)
    assert (queue_of(chat_id), state_of(chat_id)) == (without(place), state)


NOBODYS: dict[str, Callable[[ChatUpdate, Any], int]] = {
    "never there": lambda _, __: 2**40,
    "zero": lambda _, __: 0,
    "beyond the column": lambda _, __: 2**63,
    "another chat's": lambda update, _: QueuedMessage.objects.exclude(chat_id=update.chat.pk).get().pk,
    "taken back a moment ago": lambda update, _: _taken_back(update),
}


def _taken_back(update: ChatUpdate) -> int:
    known = queued_at(update, 1)
    transitions.delete_queued_message(update, queued_id=known)
    return known


@pytest.mark.parametrize("which", list(NOBODYS))
@pytest.mark.parametrize("state", WITH_QUEUE)
def test_a_message_that_the_queue_does_not_hold_is_not_found(state: State, which: str, user: Any) -> None:
    chat_id = chat_in(state, user, queued=2)
    chat_in(R1, user)
    for transition, arguments in (
        (transitions.update_queued_message, {"parts": TEXT, "position": 9}),
        (transitions.delete_queued_message, {}),
        (transitions.promote_queued_message, {}),
    ):
        refused(
            chat_id,
            QueuedMessageNotFound,
            lambda update, transition=transition, arguments=arguments: transition(
                update,
                queued_id=NOBODYS[which](update, user),
                **arguments,
            ),
        )


# --- what a queued message keeps --------------------------------------------------------------------------------


def _steer(update: ChatUpdate, _: Any) -> None:
    transitions.absorb_steering(update)


def _promote_tail(update: ChatUpdate, _: Any) -> None:
    transitions.promote_queued_message(update, queued_id=list(update.queue)[-1].pk)


PROMOTIONS: dict[str, tuple[State, Do]] = {
    "the turn ends": (R0, lambda update, _: transitions.finish_turn(update)),
    "the interruption ends": (I0, lambda update, _: transitions.finish_interruption(update, [])),
    "something is sent after an error": (E0, send("queue")),
    "it is promoted after an error": (E0, _promote_tail),
    "it is promoted while the client is waited for": (A0, _promote_tail),
    "it steers the turn": (R0, _steer),
}


@pytest.mark.parametrize("way", list(PROMOTIONS))
def test_author_model_and_options_of_a_queued_message_survive(way: str, user: Any, other_user: Any) -> None:
    register_model("demo:second")
    state, promote = PROMOTIONS[way]
    chat_id = chat_in(R0 if state is E0 else state, user, history=(SAID, ANSWERED))
    chosen = {"model": "demo:second", "options": {"temperature": 0.5}}
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=other_user, busy_behavior="steer", **chosen)
        if state is E0:
            transitions.finish_error(update, {"message": "it broke"})
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:demo", {"seed": 5})  # until the message's turn comes
    with chat_update(chat_id) as update:
        promote(update, user)
    message = ChatMessage.objects.filter(chat_id=chat_id, role="user").latest("id")
    assert (message.parts, message.created_by) == (TEXT, other_user)
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:second", {"temperature": 0.5})


@pytest.mark.parametrize("way", [way for way in PROMOTIONS if way != "it steers the turn"])
def test_a_message_without_a_choice_keeps_the_model_and_asks_for_no_options(way: str, user: Any) -> None:
    state, promote = PROMOTIONS[way]
    chat_id = chat_in(E1 if state is E0 else State(f"{str(state)[0]}1"), user, history=(SAID, ANSWERED))
    with chat_update(chat_id) as update:
        promote(update, user)
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:demo", {})


@pytest.mark.parametrize("state", [W, E0])
def test_a_message_may_choose_another_model_at_once(state: State, user: Any) -> None:
    register_model("demo:second")
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user, model="demo:second", options={"seed": 9})
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:second", {"seed": 9})


def test_queued_messages_enter_history_first_in_first_out(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=3, history=(SAID, ANSWERED))
    for _ in range(3):
        with chat_update(chat_id) as update:
            transitions.finish_turn(update)
            if update.queue:
                transitions.commit_step(update, [ANSWER])
    assert [text for role, text in history_of(chat_id) if role == "user"] == ["hello", *THREE]


@pytest.mark.parametrize("state", [W, R0])
def test_the_sender_gets_the_row_with_its_id_after_the_block(state: State, user: Any) -> None:
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        sent = transitions.send_message(update, parts=TEXT, author=user)
    rows = ChatMessage.objects if state is W else QueuedMessage.objects
    assert sent == rows.filter(chat_id=chat_id).latest("id")
    assert sent.created_by == user


# --- steering ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behavior", ["queue", "steer", "interrupt"])
@pytest.mark.parametrize("state", [R0, R1, I0, I1, A0, A1])
def test_only_a_message_sent_to_steer_is_marked(state: State, behavior: str, user: Any) -> None:
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        send(behavior)(update, user)
    marks = QueuedMessage.objects.filter(chat_id=chat_id).order_by("position").values_list("steering", flat=True)
    assert list(marks) == [*([False] if str(state).endswith("1") else []), behavior == "steer"]


def test_marked_messages_join_the_turn_with_the_step_that_precedes_them(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=3, steering=(1, 3))
    with chat_update(chat_id) as update:
        transitions.commit_step(update, RESULTS)
        absorbed = transitions.absorb_steering(update)
    assert history_of(chat_id)[2:] == [
        ("tool", "s1=found"), ("tool", "c1=found"), ("user", "queued 1"), ("user", "queued 3"),
    ]  # fmt: skip
    assert (queue_of(chat_id), state_of(chat_id)) == (["queued 2"], R1)
    assert [message.created_by for message in absorbed] == [user, user]
    assert {message.revision for message in absorbed} == {8}


def test_the_turn_keeps_its_options_unless_the_message_that_steers_it_brings_its_own(user: Any) -> None:
    chat_id = chat_in(R1, user, steering=(1,), history=(SAID, ANSWERED))
    with chat_update(chat_id) as update:
        transitions.absorb_steering(update)
    assert chat_row(chat_id)["options"] == {"seed": 5}


def test_without_a_marked_message_there_is_nothing_to_absorb(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=2, history=(SAID, ANSWERED))
    refused(chat_id, NothingToAbsorb, transitions.absorb_steering)


@pytest.mark.parametrize("step", [[], RESULTS[:1]], ids=["no result", "one of two results"])
def test_nothing_is_absorbed_while_a_call_waits_for_its_result(step: list[Any], user: Any) -> None:
    def absorb(update: ChatUpdate) -> None:
        if step:
            transitions.commit_step(update, step)
        transitions.absorb_steering(update)

    refused(chat_in(R1, user, steering=(1,)), HistoryNotWellFormed, absorb)
