"""Several transitions in one transaction: one version, whole or not at all. And the guard over the machine's code."""

from collections.abc import Callable
from typing import Any

import pytest

from chat import transitions
from chat.errors import ChatRefusal, HistoryNotWellFormed, QueueFull, TransitionNotAllowed
from chat.execution import State, Transition
from chat.models import ChatMessage
from chat.update import BrokenInvariant, ChatUpdate, chat_update
from tests.factories import ANSWERED, SAID, chat_in, chat_row, family_of, history_of, queue_of
from tests.transition_calls import ANSWER, RESULTS, TEXT, first_said, refused, send, state_of

pytestmark = pytest.mark.django_db

S = 8
FOUND = [("tool", "s1=found"), ("tool", "c1=found")]
R0, R1 = State.R0, State.R1

BUNDLES: dict[str, list[Callable[[ChatUpdate], Any]]] = {
    "none": [],
    "one": [transitions.record_generation_attempt],
    "three of the row alone": [
        transitions.record_generation_attempt,
        lambda update: transitions.record_retry_state(update, {"attempt": 3}),
        transitions.interrupt,
    ],
    "three with messages": [
        lambda update: transitions.commit_step(update, RESULTS),
        lambda update: transitions.commit_step(update, [ANSWER]),
        transitions.finish_turn,
    ],
    "a step, the queue and the owner": [
        lambda update: transitions.commit_step(update, RESULTS),
        transitions.finish_turn,
        transitions.abandon,
    ],
}


@pytest.mark.parametrize("bundle", list(BUNDLES))
def test_the_snapshot_moves_by_one_however_much_happens(bundle: str, user: Any) -> None:
    chat_id = chat_in(R1, user)
    with chat_update(chat_id) as update:
        for do in BUNDLES[bundle]:
            do(update)
    assert len(update.did) == len(BUNDLES[bundle])
    row = chat_row(chat_id)
    assert row["snapshot_version"] == update.chat.snapshot_version == S
    revisions = set(ChatMessage.objects.filter(chat_id=chat_id).values_list("revision", flat=True))
    with_messages = any(name in update.did for name in (Transition.COMMIT_STEP, Transition.FINISH_TURN))
    assert revisions == ({3, S} if with_messages else {3})
    assert row["history_version"] == max(revisions)


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


@pytest.mark.parametrize("retry_state", [{"attempt": 3}, {"attempt": 2}], ids=["another", "the same again"])
def test_an_attempt_and_its_retry_state_share_a_transaction(retry_state: dict[str, Any], user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.record_generation_attempt(update)
        transitions.record_retry_state(update, retry_state)
    row = chat_row(chat_id)
    assert (row["generation_attempt"], row["retry_state"], row["retry_state_version"]) == (3, retry_state, S)
    assert update.chat.retry_state_version == S


def test_a_step_its_attempt_and_its_retry_state_share_a_transaction(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, RESULTS)
        transitions.record_generation_attempt(update)
        transitions.record_retry_state(update, {"attempt": 1})
    row = chat_row(chat_id)
    assert (row["history_version"], row["generation_attempt"], row["retry_state"]) == (S, 1, {"attempt": 1})


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
    assert queue_of(chat_id) == ["queued 2"]


def test_a_stop_without_a_worker_is_one_transaction(user: Any) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
        transitions.finish_interruption(update, [ANSWER])
    assert state_of(chat_id) is State.W
    assert history_of(chat_id) == [("user", "hello"), ("assistant", "answer")]


def test_a_message_that_is_queued_and_promoted_at_once_was_never_in_the_queue(user: Any) -> None:
    chat_id = chat_in(R0, user, history=(SAID, ANSWERED))
    with chat_update(chat_id) as update:
        send("queue")(update, user)
        transitions.finish_turn(update)
    assert history_of(chat_id)[2:] == [("user", "new")]
    assert queue_of(chat_id) == []


def test_a_request_to_compact_that_is_consumed_at_once_leaves_no_mark(user: Any) -> None:
    chat_id = chat_in(State.W, user, history=(SAID, ANSWERED))
    with chat_update(chat_id) as update:
        transitions.request_compaction(update)
        transitions.commit_step(update, [ANSWER], consumes_compaction=True)
    assert chat_row(chat_id)["compaction_requested_at"] is None


def test_an_edit_takes_back_what_the_same_transaction_added(user: Any) -> None:
    chat_id = chat_in(R1, user)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, [*RESULTS, ANSWER])
        transitions.edit_message(update, message_id=first_said(chat_id), parts=TEXT, author=user)
    assert history_of(chat_id) == [("user", "new")]
    assert ChatMessage.objects.filter(chat_id=chat_id).count() == 3


@pytest.mark.parametrize("states", [(State.W, State.E0), (State.XW, State.XE1)], ids=["there", "back"])
def test_archiving_there_and_back_again_moves_every_snapshot_once(states: tuple[State, ...], user: Any) -> None:
    family = family_of(user, *states)
    there = states[0] is State.W
    with chat_update(family[0]) as update:
        transitions.set_archived(update, archived=there)
        transitions.set_archived(update, archived=not there)
    assert [state_of(chat_id) for chat_id in family] == list(states)
    assert [chat_row(chat_id)["snapshot_version"] for chat_id in family] == [S, S]


HALF_WAY: dict[str, tuple[State, type[ChatRefusal], Callable[[ChatUpdate, Any], Any]]] = {
    "the last of three is not allowed": (
        R1,
        TransitionNotAllowed,
        lambda update, _: (
            transitions.commit_step(update, RESULTS),
            transitions.finish_turn(update),
            transitions.finish_interruption(update, []),
        ),
    ),
    "a queue filled and emptied, then a wrong step": (
        R1,
        HistoryNotWellFormed,
        lambda update, user: (
            send("queue")(update, user),
            transitions.delete_queued_message(update, queued_id=next(iter(update.queue)).pk),
            transitions.commit_step(update, [ANSWER]),
        ),
    ),
    "an edit, then a wrong step": (
        R1,
        HistoryNotWellFormed,
        lambda update, user: (
            transitions.edit_message(update, message_id=first_said(update.chat.pk), parts=TEXT, author=user),
            transitions.commit_step(update, RESULTS),
        ),
    ),
    "a new owner, who may not": (
        State.W,
        TransitionNotAllowed,
        lambda update, _: (
            transitions.acquire(update, worker_id=update.chat.pk, runner_id=update.chat.pk),
            transitions.finish_turn(update),
        ),
    ),
    "one message more than the queue takes": (
        R1,
        QueueFull,
        lambda update, user: [send("queue")(update, user) for _ in range(20)],
    ),
}


@pytest.mark.parametrize("bundle", list(HALF_WAY))
def test_a_bundle_that_fails_half_way_leaves_nothing(bundle: str, user: Any) -> None:
    state, refusal, do = HALF_WAY[bundle]
    refused(chat_in(state, user), refusal, lambda update: do(update, user))


# --- the machine guards itself ----------------------------------------------------------------------------------


def test_a_transition_that_leaves_the_table_is_a_bug_and_writes_nothing(user: Any) -> None:
    def leave(update: ChatUpdate) -> None:
        with update.moving(Transition.INTERRUPT):
            update.chat.status = "waiting"

    refused(chat_in(R1, user), BrokenInvariant, leave)


def test_a_transition_that_arrives_where_another_departure_leads_is_a_bug(user: Any) -> None:
    def leave(update: ChatUpdate) -> None:
        with update.moving(Transition.INTERRUPT):
            update.chat.status = "interrupting"
            update.queue.clear()  # R1 → I0

    refused(chat_in(R1, user), BrokenInvariant, leave)


def test_a_state_that_changed_without_a_transition_is_not_written(user: Any) -> None:
    def by_hand(update: ChatUpdate) -> None:
        transitions.record_generation_attempt(update)
        update.chat.status = "waiting"

    refused(chat_in(R0, user), BrokenInvariant, by_hand)


def test_a_member_whose_state_changed_without_a_transition_is_not_written(user: Any) -> None:
    def by_hand(update: ChatUpdate) -> None:
        transitions.set_archived(update, archived=True)
        update.descendants()[-1].chat.status = "running"

    refused(family_of(user, State.W, State.E0, State.W)[0], BrokenInvariant, by_hand)


def test_a_family_that_was_archived_by_half_cannot_be_committed_by_a_caller_who_looks_away(user: Any) -> None:
    def look_away(update: ChatUpdate) -> None:
        with pytest.raises(TransitionNotAllowed):
            transitions.set_archived(update, archived=True)

    refused(family_of(user, State.W, State.E0, State.R0)[0], BrokenInvariant, look_away)


def test_a_transition_that_failed_half_way_cannot_be_committed_by_a_caller_who_looks_away(user: Any) -> None:
    def look_away(update: ChatUpdate) -> None:
        with pytest.raises(HistoryNotWellFormed):
            transitions.finish_interruption(update, RESULTS[:1])

    refused(chat_in(State.I0, user), BrokenInvariant, look_away)


def test_a_refusal_at_departure_leaves_the_block_usable(user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        with pytest.raises(TransitionNotAllowed):
            transitions.finish_interruption(update, [])
        transitions.interrupt(update)
    assert state_of(chat_id) is State.I0
