"""Less for the model to read: a request to compact, the mark that it leaves, and a context that is cleared at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from chat import transitions
from chat.errors import HistoryNotWellFormed, MessageInvalid
from chat.execution import State
from chat.models import ChatMessage, RunnerLease
from chat.transitions import NewMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import ANSWERED, RUNNER, SAID, SOME_DAY, WORKER, chat_in, chat_row, history_of, photograph_of
from tests.transition_calls import ANSWER, BOUNDARY, RESULTS, first_said, refused, send, state_of

pytestmark = pytest.mark.django_db

W, E0, E1, R0, R1 = (State(name) for name in ("W", "E0", "E1", "R0", "R1"))
WITHOUT_CALLS = (SAID, ANSWERED)


# --- the request ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [W, E0, E1])
def test_a_request_begins_a_new_history_without_touching_a_message(state: State, user: Any) -> None:
    chat_id = chat_in(state, user)
    queue_version = chat_row(chat_id)["queue_version"]
    messages = [row for row in photograph_of(chat_id) if row.startswith(("chat_chatmessage", "chat_queuedmessage"))]
    with chat_update(chat_id) as update:
        transitions.request_compaction(update)
    row = chat_row(chat_id)
    assert (row["history_version"], row["generation_attempt"], row["queue_version"]) == (8, 0, queue_version)
    after = [row for row in photograph_of(chat_id) if row.startswith(("chat_chatmessage", "chat_queuedmessage"))]
    assert after == messages


def test_the_mark_is_the_databases_time_and_not_ours(user: Any) -> None:
    chat_id = chat_in(W, user)
    with connection.cursor() as cursor, chat_update(chat_id) as update:
        cursor.execute("SELECT clock_timestamp()")
        (before,) = cursor.fetchone()
        transitions.request_compaction(update)
    mark = chat_row(chat_id)["compaction_requested_at"]
    assert before < mark < before + timedelta(seconds=5)
    assert update.chat.compaction_requested_at == mark


def test_a_request_takes_the_chat_from_whoever_had_it_and_calls_for_a_worker(
    user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(W, user)
    RunnerLease.objects.create(chat_id=chat_id, runner_id=uuid4(), worker_id=WORKER, heartbeat_at=SOME_DAY)
    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        transitions.request_compaction(update)
    row = chat_row(chat_id)
    assert (row["worker_id"], row["runner_id"]) == (None, None)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()
    assert published == [("update", chat_id, "R0"), ("wake-up", chat_id)]


def test_a_request_while_nobody_owns_the_chat_is_as_good(user: Any) -> None:
    chat_id = chat_in(E1, user, owned=False)
    with chat_update(chat_id) as update:
        transitions.request_compaction(update)
    assert state_of(chat_id) is R1


# --- rule 9: the mark is one-shot -------------------------------------------------------------------------------

Do = Callable[[ChatUpdate, Any], Any]
LIFE: list[tuple[str, Do, bool]] = [
    ("a worker takes the chat", lambda u, _: transitions.acquire(u, worker_id=WORKER, runner_id=RUNNER), True),
    ("it tries", lambda u, _: transitions.record_generation_attempt(u), True),
    ("it waits to try again", lambda u, _: transitions.record_retry_state(u, {"attempt": 1}), True),
    ("a message is queued", send("queue"), True),
    ("a message is to steer", send("steer"), True),
    ("a step is committed", lambda u, _: transitions.commit_step(u, [ANSWER]), True),
    ("what steers is absorbed", lambda u, _: transitions.absorb_steering(u), True),
    ("the worker lets go", lambda u, _: transitions.abandon(u), True),
    ("the next one takes it", lambda u, _: transitions.acquire(u, worker_id=WORKER, runner_id=RUNNER), True),
    ("it compacts", lambda u, _: transitions.commit_step(u, [ANSWER], consumes_compaction=True), False),
    ("and goes on", lambda u, _: transitions.commit_step(u, [ANSWER]), False),
    ("the turn ends", lambda u, _: transitions.finish_turn(u), False),
]


def test_a_mark_stays_until_a_step_consumes_it_and_fires_once(user: Any) -> None:
    chat_id = chat_in(W, user, history=WITHOUT_CALLS)
    with chat_update(chat_id) as update:
        transitions.request_compaction(update)
    mark = chat_row(chat_id)["compaction_requested_at"]
    for words, do, stays in LIFE:
        with chat_update(chat_id) as update:
            do(update, user)
        assert chat_row(chat_id)["compaction_requested_at"] == (mark if stays else None), words


def test_a_mark_survives_the_archive(user: Any) -> None:
    chat_id = chat_in(W, user)
    for archived in (True, False):
        with chat_update(chat_id) as update:
            transitions.set_archived(update, archived=archived)
        assert chat_row(chat_id)["compaction_requested_at"] == SOME_DAY


ENDS: dict[str, tuple[State, Do]] = {
    "stopped by a person": (R0, lambda u, _: transitions.interrupt(u)),
    "the turn ends": (R0, lambda u, _: transitions.finish_turn(u)),
    "the next turn begins": (R1, lambda u, _: transitions.finish_turn(u)),
    "it fails": (R0, lambda u, _: transitions.finish_error(u, {"message": "no"})),
    "something is said otherwise": (
        R0,
        lambda u, user: transitions.edit_message(
            u, message_id=first_said(u.chat.pk), parts=[{"type": "text", "text": "x"}], author=user
        ),
    ),
    "a queued message is put first": (
        R1,
        lambda u, _: transitions.promote_queued_message(u, queued_id=next(iter(u.queue)).pk),
    ),
    "the client is waited for": (R0, lambda u, _: transitions.enter_requires_action(u)),
    "something is sent": (W, send("queue")),
    "the context is cleared": (W, lambda u, _: transitions.clear_context(u, [BOUNDARY])),
}


@pytest.mark.parametrize("end", list(ENDS))
def test_a_mark_does_not_outlive_what_it_was_asked_for(end: str, user: Any) -> None:
    state, do = ENDS[end]
    chat_id = chat_in(state, user)
    with chat_update(chat_id) as update:
        do(update, user)
    assert chat_row(chat_id)["compaction_requested_at"] is None


# --- a cleared context ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [W, E0])
def test_a_boundary_may_be_several_rows_seen_by_some(state: State, user: Any) -> None:
    chat_id = chat_in(state, user, history=WITHOUT_CALLS)
    boundary = [BOUNDARY, NewMessage("assistant", ANSWER.parts, visibility="user", compressed=True)]
    with chat_update(chat_id) as update:
        added = transitions.clear_context(update, boundary)
    rows = ChatMessage.objects.filter(chat_id=chat_id).order_by("id")
    assert list(rows[2:]) == added
    assert [(row.role, row.visibility, row.compressed, row.revision) for row in rows[2:]] == [
        ("user", "model", True, 8),
        ("assistant", "user", True, 8),
    ]
    assert (state_of(chat_id), chat_row(chat_id)["last_error"]) == (W, None)


def test_open_calls_are_closed_before_the_boundary(user: Any) -> None:
    chat_id = chat_in(W, user)
    with chat_update(chat_id) as update:
        transitions.clear_context(update, [BOUNDARY])
    assert history_of(chat_id)[2:] == [
        ("tool", "s1!=interrupted by user"),
        ("tool", "c1!=interrupted by user"),
        ("user", "in short"),
    ]


@pytest.mark.parametrize(
    ("boundary", "refusal"),
    [([], MessageInvalid), ([NewMessage("user", [])], MessageInvalid), (RESULTS, HistoryNotWellFormed)],
    ids=["nothing", "a row without a part", "results of no call"],
)
@pytest.mark.parametrize("state", [W, E0])
def test_a_boundary_that_is_none_is_refused(
    state: State, boundary: list[NewMessage], refusal: type[Exception], user: Any
) -> None:
    chat_id = chat_in(state, user)
    refused(chat_id, refusal, lambda update: transitions.clear_context(update, boundary))
