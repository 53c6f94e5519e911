"""The door: one transaction, one version, one hint; the fence after the lock; and nothing lost between threads."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from chat import hints, rows, transitions
from chat.errors import ChatNotFound, StaleFence
from chat.execution import RUNNABLE, State
from chat.models import Chat, ChatMessage, RunnerLease
from chat.transitions import NewMessage
from chat.update import BrokenInvariant, Fence, chat_creation, chat_read, chat_update
from chatworker import acquisition
from chatworker.models import catalogue
from chatworker.models.protocol import ModelAnswer
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

TEXT = [{"type": "text", "text": "new"}]
ANSWER = NewMessage("assistant", [{"type": "text", "text": "answer"}])
R0, R1 = State.R0, State.R1
LIMIT = 30.0
"""Seconds after which a thread that should have ended counts as stuck."""

rolled_back = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def fence(**other: Any) -> Fence:
    """The fence of the owner of a chat that `chat_in(R0, …)` made."""
    return replace(Fence(WORKER, RUNNER, history_version=3, status="running", generation_attempt=2), **other)


class Threads:
    """Threads that close their connections; errors come out at the end."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                function()
            except BaseException as error:
                self._errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        return thread

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(LIMIT)
        assert not any(thread.is_alive() for thread in self._threads)
        if self._errors:
            raise self._errors[0]


def wait_until_somebody_waits_for_a_lock() -> None:
    give_up_at = time.monotonic() + LIMIT
    with connection.cursor() as cursor:
        while time.monotonic() < give_up_at:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits for a lock")


# --- the version ------------------------------------------------------------------------------------------------


@rolled_back
@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_the_snapshot_moves_by_one_however_many_transitions_it_holds(attempts: int, user: Any) -> None:
    chat_id = chat_in(R0, user)
    before = chat_row(chat_id)
    with chat_update(chat_id) as update:
        for _ in range(attempts):
            transitions.record_generation_attempt(update)
        assert len(update.did) == attempts
    after = chat_row(chat_id)
    assert after["snapshot_version"] == before["snapshot_version"] + 1
    assert after["generation_attempt"] == before["generation_attempt"] + attempts


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


def check(truth: bool) -> None:
    assert truth


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


# --- the fence --------------------------------------------------------------------------------------------------

WRONG = [
    {"worker_id": uuid4()},
    {"runner_id": uuid4()},
    {"history_version": 2},
    {"history_version": 4},
    {"status": "interrupting"},
    {"generation_attempt": 1},
    {"generation_attempt": 3},
]


@rolled_back
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong)))
def test_a_fence_that_differs_in_one_field_lets_nothing_through(
    wrong: dict[str, Any], user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(R0, user)
    before = photograph()
    with django_capture_on_commit_callbacks(execute=True):
        with pytest.raises(StaleFence), chat_update(chat_id, fence=fence(**wrong)):
            raise AssertionError("the block was entered")
        with pytest.raises(StaleFence):
            chat_read(chat_id, fence=fence(**wrong))
    assert photograph() == before
    assert published == []


@rolled_back
@pytest.mark.parametrize("exact", [{}, {"generation_attempt": None}], ids=["with the attempt", "without"])
def test_a_fence_that_says_what_the_row_says_lets_through(exact: dict[str, Any], user: Any) -> None:
    chat_id = chat_in(R0, user)
    assert chat_read(chat_id, fence=fence(**exact)).chat.pk == chat_id
    with chat_update(chat_id, fence=fence(**exact)) as update:
        transitions.record_retry_state(update, {"attempt": 3})
    assert chat_row(chat_id)["retry_state"] == {"attempt": 3}


@rolled_back
def test_a_fence_does_not_hold_for_a_chat_that_nobody_owns_or_that_was_archived(user: Any) -> None:
    unowned = chat_in(R0, user, owned=False)
    with pytest.raises(StaleFence), chat_update(unowned, fence=fence()):
        pass
    archived = chat_in(State.INVALID, user)
    with pytest.raises(StaleFence), chat_update(archived, fence=fence()):
        pass


@committed
def test_the_fence_is_compared_after_the_lock_is_taken(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    assert chat_read(chat_id, fence=fence())  # it holds when the second update begins to wait
    ends: list[str] = []

    def commit_late() -> None:
        try:
            with chat_update(chat_id, fence=fence()) as update:
                transitions.commit_step(update, [ANSWER])
        except StaleFence:
            ends.append("stale")

    with Threads() as others, chat_update(chat_id) as update:
        others.start(commit_late)
        wait_until_somebody_waits_for_a_lock()
        transitions.interrupt(update)
    assert ends == ["stale"]
    assert history_of(chat_id) == [("user", "hello")]
    assert chat_row(chat_id)["snapshot_version"] == 8


@rolled_back
@pytest.mark.parametrize("with_fence", [None, fence()], ids=["without a fence", "with a fence"])
def test_a_chat_that_does_not_exist_is_not_found(with_fence: Fence | None) -> None:
    with pytest.raises(ChatNotFound), chat_update(nowhere(), fence=with_fence):
        raise AssertionError("the block was entered")
    with pytest.raises(ChatNotFound):
        chat_read(nowhere(), fence=with_fence)


# --- reading ----------------------------------------------------------------------------------------------------


@rolled_back
@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_reading_shows_the_chat_and_changes_nothing(
    state: State, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(state, user)
    before, row = photograph(), chat_row(chat_id)
    with django_capture_on_commit_callbacks(execute=True), CaptureQueriesContext(connection) as statements:
        snapshot = chat_read(chat_id)
    assert len(statements) == 1
    assert "FOR UPDATE" not in statements[0]["sql"]
    assert snapshot.state is state
    assert {name: getattr(snapshot.chat, name) for name in row} == row
    assert [message["parts"] for message in snapshot.messages] == [
        message.parts for message in ChatMessage.objects.filter(chat_id=chat_id).order_by("id")
    ]
    assert [queued["parts"][0]["text"] for queued in snapshot.queue] == queue_of(chat_id)
    assert snapshot.has_fresh_lease
    assert (photograph(), published) == (before, [])


@committed
def test_a_reading_waits_for_no_update_and_sees_none_by_half(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R1, user, history=(SAID, ANSWERED))
    done = threading.Event()

    def say_more() -> None:
        try:
            for _ in range(30):
                with chat_update(chat_id) as update:
                    transitions.finish_turn(update)
                    transitions.send_message(update, parts=TEXT, author=user)
        finally:
            done.set()

    versions = set()
    with Threads() as others:
        others.start(say_more)
        while True:
            last = done.is_set()
            snapshot = chat_read(chat_id)
            version = snapshot.chat.snapshot_version
            versions.add(version)
            assert snapshot.state is R1
            assert len(snapshot.messages) == 2 + version - 7
            assert len(snapshot.queue) == 1
            if version > 7:
                assert snapshot.chat.history_version == snapshot.chat.queue_version == version
                assert snapshot.messages[-1]["revision"] == version
            if last:
                break
    assert max(versions) == 37
    with chat_update(chat_id), Threads() as others:
        others.start(lambda: check(chat_read(chat_id).chat.snapshot_version == 37))


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


@pytest.mark.parametrize(
    "write",
    [
        lambda: rows.lock_chat(nowhere()),
        lambda: rows.insert_chat(Chat()),
        lambda: rows.save_chat(Chat(), ["title"]),
        lambda: rows.insert_messages([ChatMessage()]),
        lambda: rows.insert_queued([]),
        lambda: rows.delete_queued([1]),
        lambda: rows.insert_lease(nowhere(), WORKER, RUNNER),
        lambda: rows.delete_leases(nowhere()),
    ],
    ids=[
        "lock_chat", "insert_chat", "save_chat", "insert_messages", "insert_queued", "delete_queued", "insert_lease",
        "delete_leases",
    ],
)  # fmt: skip
def test_what_locks_or_writes_refuses_to_run_outside_a_transaction(write: Callable[[], object]) -> None:
    with pytest.raises(rows.TransactionRequired):
        write()


@rolled_back
def test_a_chat_is_created_by_its_transition_or_not_at_all(user: Any) -> None:
    with pytest.raises(BrokenInvariant), chat_creation(Chat(owner=user, model="demo:demo", status="running")):
        pass
    assert photograph() == []


# --- what a plain turn costs ------------------------------------------------------------------------------------


@committed
def test_a_plain_turn_is_three_transactions_and_at_most_twenty_statements(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(State.W, user, history=(SAID, ANSWERED), owned=False)
    catalogue._kept.clear()  # the dearest case: the worker has not met this model yet
    with CaptureQueriesContext(connection) as captured:
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=TEXT, author=user)
        step = acquisition.acquire(chat_id, WORKER, RUNNER)
        assert isinstance(step, Generate)
        following = _commit_answer(step, ModelAnswer(parts=[{"type": "text", "text": "answer"}], usage={}))
    assert isinstance(following, Done)
    assert history_of(chat_id)[2:] == [("user", "new"), ("assistant", "answer")]
    statements = [statement["sql"] for statement in captured]
    assert statements.count("BEGIN") == statements.count("COMMIT") == 3
    work = [sql for sql in statements if sql not in ("BEGIN", "COMMIT")]
    assert len(work) == 17, "\n".join(work)
    assert (published[0], published[-1]) == (("update", chat_id, "R0"), ("update", chat_id, "W"))
    assert published.count(("wake-up", chat_id)) == 1
