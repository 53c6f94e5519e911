"""The door: one transaction, one version, one hint, whole or not at all; and nothing lost between threads."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import isfunction
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from chat import hints, rows, transitions
from chat.errors import ChatNotFound, StaleFence
from chat.execution import RUNNABLE, State
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.update import BrokenInvariant, chat_creation, chat_update
from chatworker import acquisition
from chatworker.models import catalogue
from chatworker.models.protocol import ModelAnswer
from chatworker.resources import Resources
from chatworker.work.generate import _commit_answer
from chatworker.work.step import Done, Generate
from tests.factories import (
    ANSWERED,
    LIVE_STATES,
    RUNNER,
    SAID,
    SOME_DAY,
    WORKER,
    chat_in,
    chat_row,
    history_of,
    nowhere,
    photograph,
    queue_of,
)
from tests.threads import LIMIT, Threads, check, wait_until_somebody_waits_for_a_lock
from tests.transition_calls import ANSWER, CALLING_AGAIN, TEXT

R0, R1 = State.R0, State.R1

rolled_back = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


# --- the version ------------------------------------------------------------------------------------------------


@rolled_back
@pytest.mark.parametrize("state", LIVE_STATES)
def test_an_update_without_a_transition_changes_the_snapshot_alone(state: State, user: Any) -> None:
    chat_id = chat_in(state, user)
    before, history, queue = chat_row(chat_id), history_of(chat_id), queue_of(chat_id)
    with chat_update(chat_id):
        pass
    after = chat_row(chat_id)
    changed = {name for name in after if after[name] != before[name]} - {"snapshot_xid"}
    assert changed == {"snapshot_version", "updated_at"}
    assert (history_of(chat_id), queue_of(chat_id)) == (history, queue)


@rolled_back
def test_messages_of_one_update_share_its_version(user: Any) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    with chat_update(chat_id) as update:
        added = transitions.commit_step(update, [ANSWER, ANSWER])
        transitions.commit_step(update, [ANSWER])
    assert [message.revision for message in added] == [8, 8]
    revisions = ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values_list("revision", flat=True)
    assert list(revisions) == [3, 8, 8, 8]


# --- all or nothing ---------------------------------------------------------------------------------------------


@rolled_back
@pytest.mark.parametrize("error", [ValueError, StaleFence, ChatNotFound, KeyboardInterrupt, GeneratorExit])
def test_an_exception_in_the_block_undoes_everything_and_tells_nobody(
    error: type[BaseException], user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(R1, user)
    before = photograph()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(error), chat_update(chat_id) as update:
        transitions.finish_turn(update)
        transitions.abandon(update)
        raise error
    assert photograph() == before
    assert published == []


@rolled_back
def test_an_outer_transaction_that_fails_takes_the_update_and_its_hint_with_it(
    user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(R1, user)
    before = photograph()
    with django_capture_on_commit_callbacks(execute=True), suppress(ValueError), transaction.atomic():
        with chat_update(chat_id) as update:
            transitions.finish_turn(update)
        raise ValueError
    assert photograph() == before
    assert published == []


@committed
@pytest.mark.parametrize("failing", ["publish_update", "publish_wake_up"])
def test_a_publication_that_fails_undoes_nothing(
    failing: str, user: Any, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("nobody is there")

    monkeypatch.setattr(hints, failing, fail)
    chat_id = chat_in(State.W, user, owned=False)
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user)
    chat = transitions.create_chat(owner=user, parts=TEXT)
    with Threads() as others:  # who see what is committed, and nothing else
        others.start(lambda: check(history_of(chat_id)[-1] == ("user", "new")))
        others.start(lambda: check(history_of(chat.pk) == [("user", "new")]))


@committed
def test_a_hint_goes_out_after_the_commit_and_not_before(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def read_elsewhere(chat: Any, state: State) -> None:
        with Threads() as others:
            others.start(lambda: seen.append(chat_row(chat.pk)["snapshot_version"]))

    monkeypatch.setattr(hints, "publish_update", read_elsewhere)
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        transitions.record_generation_attempt(update)
        assert seen == []
    assert seen == [8]


# --- hint and wake-up -------------------------------------------------------------------------------------------


def lease_of(chat_id: UUID, kind: str) -> None:
    lease = RunnerLease.objects.filter(chat_id=chat_id)
    if kind == "expired":
        lease.update(heartbeat_at=SOME_DAY)
    elif kind == "gone":
        lease.delete()
    elif kind == "another's":
        lease.update(runner_id=uuid4())


@rolled_back
@pytest.mark.parametrize("owner", ["nobody", "fresh", "expired", "gone", "another's"])
@pytest.mark.parametrize("state", LIVE_STATES)
def test_one_hint_per_commit_and_a_wake_up_where_nobody_does_the_work(
    state: State, owner: str, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(state, user, owned=owner != "nobody")
    lease_of(chat_id, owner)
    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id):
        pass
    wake_up = [("wake-up", chat_id)] if state in RUNNABLE and owner != "fresh" else []
    assert published == [("update", chat_id, str(state)), *wake_up]


@rolled_back
def test_three_transitions_are_one_hint_that_describes_the_last_row(
    user: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(hints, "publish_update", lambda chat, state: told.append((chat, state)))
    monkeypatch.setattr(hints, "publish_wake_up", told.append)
    chat_id = chat_in(R0, user, history=(SAID,))
    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        transitions.commit_step(update, [ANSWER])
        transitions.finish_turn(update)
        transitions.abandon(update)
    [(chat, state)] = told
    names = [field.attname for field in Chat._meta.concrete_fields if field.attname != "snapshot_xid"]
    row = chat_row(chat_id)
    assert {name: getattr(chat, name) for name in names} == {name: row[name] for name in names}
    assert state is State.W


@rolled_back
def test_acquiring_wakes_nobody_and_abandoning_wakes_the_next(
    user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(R0, user, owned=False)
    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=WORKER, runner_id=RUNNER)
    assert published == [("update", chat_id, "R0")]
    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        transitions.abandon(update)
    assert published[1:] == [("update", chat_id, "R0"), ("wake-up", chat_id)]


# --- many at once -----------------------------------------------------------------------------------------------


@committed
def test_of_two_hundred_updates_from_eight_threads_none_is_lost(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user)
    at_once = threading.Barrier(8)

    def update_often() -> None:
        at_once.wait(LIMIT)
        for _ in range(25):
            with chat_update(chat_id) as update:
                transitions.record_generation_attempt(update)

    with Threads() as eight:
        for _ in range(8):
            eight.start(update_often)
    row = chat_row(chat_id)
    assert (row["snapshot_version"], row["generation_attempt"]) == (7 + 200, 2 + 200)
    assert published == [("update", chat_id, "R0")] * 200


@committed
def test_who_waited_for_the_lock_sees_what_was_written_meanwhile(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    seen: list[Any] = []

    def look() -> None:
        with chat_update(chat_id) as update:
            seen.append((len(update.queue), [call["tool_call_id"] for call in update.history.outstanding_calls()]))

    with Threads() as waiting, chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user)
        transitions.commit_step(update, [CALLING_AGAIN])
        waiting.start(look)
        wait_until_somebody_waits_for_a_lock()
    assert seen == [(1, ["s2"])]


@committed
def test_messages_sent_at_once_all_wait_in_the_queue_in_places_of_their_own(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user)

    def send(number: str) -> None:
        with chat_update(chat_id) as update:
            parts = [{"type": "text", "text": number}]
            transitions.send_message(update, parts=parts, author=user)

    with Threads() as eight:
        for number in "01234567":
            eight.start(partial(send, number))
    assert sorted(queue_of(chat_id)) == list("01234567")
    with chat_update(chat_id) as update:
        assert [queued.position for queued in update.queue] == list(range(1, 9))


@committed
def test_of_eight_workers_one_gets_the_chat(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user, history=(SAID,), owned=False)
    taken: list[Any] = []
    at_once = threading.Barrier(8)

    def take() -> None:
        at_once.wait(LIMIT)
        taken.append(acquisition.acquire(chat_id, uuid4(), uuid4()))

    with Threads() as eight:
        for _ in range(8):
            eight.start(take)
    [step] = [step for step in taken if step is not None]
    assert step.fence.runner_id == chat_row(chat_id)["runner_id"]
    assert RunnerLease.objects.filter(chat_id=chat_id).count() == 1


# --- what writes demands a transaction --------------------------------------------------------------------------


WRITES: dict[str, Callable[[], object]] = {
    "lock_chat": lambda: rows.lock_chat(nowhere()),
    "lock_descendants": lambda: rows.lock_descendants(nowhere()),
    "lock_root_against_archiving": lambda: rows.lock_root_against_archiving(nowhere()),
    "insert_chat": lambda: rows.insert_chat(Chat()),
    "save_chat": lambda: rows.save_chat(Chat(), ["title"]),
    "save_archived": lambda: rows.save_archived([Chat()]),
    "insert_messages": lambda: rows.insert_messages([ChatMessage()]),
    "delete_messages_from": lambda: rows.delete_messages_from(nowhere(), 1),
    "insert_queued": lambda: rows.insert_queued([QueuedMessage()]),
    "update_queued": lambda: rows.update_queued([QueuedMessage()]),
    "delete_queued": lambda: rows.delete_queued([1]),
    "require_transaction": rows.require_transaction,
}
READS = {"history_of", "message_of", "stored_of_all", "tail_before", "lease_is_fresh"}


def test_every_function_on_rows_reads_or_demands_a_transaction() -> None:
    assert {name for name in rows.__all__ if isfunction(getattr(rows, name))} == WRITES.keys() | READS


@pytest.mark.parametrize("write", list(WRITES))
def test_what_locks_or_writes_refuses_to_run_outside_a_transaction(write: str) -> None:
    with pytest.raises(rows.TransactionRequired):
        WRITES[write]()


@rolled_back
def test_a_chat_is_created_by_its_transition_or_not_at_all(user: Any) -> None:
    with pytest.raises(BrokenInvariant), chat_creation(Chat(owner=user, model="demo:demo", status="running")):
        pass
    assert photograph() == []


# --- what a plain turn costs ------------------------------------------------------------------------------------


@committed
@pytest.mark.parametrize(
    ("warm", "limit", "cost"),
    [(True, 0, 13), (False, 0, 14), (True, 5, 15)],
    ids=["usually", "a worker that has not met the model yet", "with a limit of running chats"],
)
def test_a_plain_turn_is_three_transactions_and_at_most_twenty_statements(
    warm: bool, limit: int, cost: int, user: Any, published: list[Any], settings: Any
) -> None:
    settings.CHATD_MAX_CHATS = limit
    chat_id = chat_in(State.W, user, history=(SAID, ANSWERED), owned=False)
    catalogue._kept.clear()
    if warm:
        catalogue.model_spec("demo:demo")
    with CaptureQueriesContext(connection) as captured:
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=TEXT, author=user)
        step = acquisition.acquire(chat_id, WORKER, RUNNER)
        assert isinstance(step, Generate)
        answer = ModelAnswer(parts=[{"type": "text", "text": "answer"}], usage={})
        following = _commit_answer(step, Resources(None, None, None), answer)  # type: ignore[arg-type]
    assert isinstance(following, Done)
    assert history_of(chat_id)[2:] == [("user", "new"), ("assistant", "answer")]
    statements = [statement["sql"] for statement in captured]
    assert statements.count("BEGIN") == statements.count("COMMIT") == 3
    assert len(statements) == cost <= 20, "\n".join(statements)
    assert (published[0], published[-1]) == (("update", chat_id, "R0"), ("update", chat_id, "W"))
    assert published.count(("wake-up", chat_id)) == 1
