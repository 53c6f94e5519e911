"""The chat worker in this process, against a real model server: runners, leases, sweep, sync, hand-over."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.signals import worker_shutting_down
from django.db import OperationalError, connection, transaction
from structlog.testing import capture_logs

from chat import hints, transitions
from chat.database import DatabaseThreads
from chat.errors import StaleFence
from chat.execution import State
from chat.models import Chat, RunnerLease
from chat.rows.clock import database_now
from chat.update import Fence, chat_read, chat_update
from chatworker import acquisition, bootstep, leases, manager
from chatworker.loops import attempt
from chatworker.testing import wait_until, wait_until_idle
from chatworker.work import generate
from chatworker.work.step import Generate, Step, Wait, begin_step
from chatworker.worker import ChatWorker, Sweep
from tests.factories import chat_in

pytestmark = pytest.mark.django_db(transaction=True)
SLOW = "[long 200] [interval 0.02]"


@pytest.fixture
def worker(owner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatWorker]:
    """A started worker that hears wake-ups at once, as Celery's pool would."""
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(8) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(drain_timeout=0)


@pytest.fixture(autouse=True)
def signals_are_pytests_own_again() -> Iterator[None]:
    """A worker that is told to stop keeps them for the rest of its process, which here is ours."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def create(owner: Any, text: str) -> UUID:
    return transitions.create_chat(owner=owner, parts=[{"type": "text", "text": text}]).pk


def said(chat_id: UUID) -> list[tuple[str, str]]:
    messages = sorted(chat_read(chat_id).messages, key=lambda row: row["id"])
    return [(row["role"], "".join(part.get("text", "") for part in row["parts"])) for row in messages]


def streaming(chat_id: UUID) -> None:
    """Wait until a model call of the chat has begun."""
    wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt > 0, timeout=10)


# --- a turn ----------------------------------------------------------------------------------------------------


def test_a_message_is_answered_and_the_chat_belongs_to_nobody_afterwards(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, "Hello [say Good day.]")
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert (snapshot.state, snapshot.chat.snapshot_version) == ("W", 3)
    assert said(chat_id) == [("user", "Hello [say Good day.]"), ("assistant", "Good day.")]
    assert not RunnerLease.objects.exists()


def test_queued_messages_are_answered_in_their_order(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, f"one {SLOW}")
    streaming(chat_id)
    for text in ("two [say second]", "three [say third]"):
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=[{"type": "text", "text": text}], author=owner)
    wait_until_idle(chat_id, timeout=20)
    assert [role for role, _ in said(chat_id)] == ["user", "assistant"] * 3
    assert [text for role, text in said(chat_id) if role == "assistant"][1:] == ["second", "third"]


def test_an_interrupting_message_keeps_the_partial_answer_and_is_answered_next(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, f"one {SLOW}")
    wait_until(lambda: chat_read(chat_id), lambda s: s.chat.generation_attempt > 0, timeout=10)
    with chat_update(chat_id) as update:
        transitions.send_message(
            update, parts=[{"type": "text", "text": "two [say second]"}], author=owner, busy_behavior="interrupt"
        )
    wait_until_idle(chat_id, timeout=20)
    roles = [role for role, _ in said(chat_id)]
    assert roles in (["user", "assistant", "user", "assistant"], ["user", "user", "assistant"])
    assert said(chat_id)[-1] == ("assistant", "second")


def test_a_failing_model_is_tried_again_and_the_retry_is_visible(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatworker.failure.BACKOFF_FROM", 0.05)
    seen: list[Any] = []
    publish = hints.publish_update
    monkeypatch.setattr(hints, "publish_update", lambda chat, s: (seen.append(chat.retry_state), publish(chat, s)))
    chat_id = create(owner, f"{uuid4()} [fail 529 times 2] [say At last.]")
    snapshot = wait_until_idle(chat_id, timeout=20)
    assert said(chat_id)[-1] == ("assistant", "At last.")
    retries = [retry for retry in seen if retry]
    assert [(retry["attempt"], retry["kind"], retry["status_code"]) for retry in retries] == [
        (1, "overloaded", 529),
        (2, "overloaded", 529),
    ]
    assert snapshot.chat.retry_state is None


def test_an_error_that_no_retry_mends_ends_the_turn_with_a_message_for_a_person(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, "Hello [fail 401]")
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert (snapshot.state, snapshot.chat.last_error["kind"]) == ("E0", "auth")
    assert "Check the API key" in snapshot.chat.last_error["message"]
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=[{"type": "text", "text": "Again [say Yes.]"}], author=owner)
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert (snapshot.state, snapshot.chat.last_error) == ("W", None)


@pytest.mark.parametrize(
    ("chunks", "kind"), [(0, "startup_timeout"), (3, "stream_silence_timeout")], ids=["from the beginning", "later"]
)
def test_a_silent_model_is_cut_off_and_tried_again_up_to_the_limit(
    chunks: int, kind: str, worker: ChatWorker, owner: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHATD_STREAM_SILENCE_TIMEOUT, settings.CHATD_MAX_GENERATION_RETRIES = 0.2, 2
    monkeypatch.setattr("chatworker.failure.BACKOFF_FROM", 0.05)
    chat_id = create(owner, f"Hello [long 20] [stall after {chunks}]")
    snapshot = wait_until_idle(chat_id, timeout=20)
    assert (snapshot.state, snapshot.chat.last_error["kind"]) == ("E0", kind)
    assert [role for role, _ in said(chat_id)] == ["user"]


def test_an_answer_without_content_ends_the_turn_without_an_empty_message(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, "Hello [say ]")
    assert wait_until_idle(chat_id, timeout=10).state == "W"
    assert [role for role, _ in said(chat_id)] == ["user"]


def test_a_tool_that_does_not_exist_gets_a_result_that_says_so(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, 'Hello [call weather {"city": "Oslo"}] [call clock {}]')
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert snapshot.state == "W"
    parts = [part for row in sorted(snapshot.messages, key=lambda row: row["id"]) for part in row["parts"]]
    calls = [part["tool_call_id"] for part in parts if part["type"] == "tool_call"]
    results = [part for part in parts if part["type"] == "tool_result"]
    assert [result["tool_call_id"] for result in results] == calls
    assert all(result["is_error"] and "There is no tool" in result["output"] for result in results)


def test_two_calls_to_which_a_model_gave_one_id_each_get_a_result(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, "Hello [call doubled weather {}] [then] [say Done.]")
    snapshot = wait_until_idle(chat_id, timeout=10)
    parts = [part for row in sorted(snapshot.messages, key=lambda row: row["id"]) for part in row["parts"]]
    calls = [part["tool_call_id"] for part in parts if part["type"] == "tool_call"]
    assert len(set(calls)) == 2
    assert [part["tool_call_id"] for part in parts if part["type"] == "tool_result"] == calls
    assert (snapshot.state, said(chat_id)[-1]) == ("W", ("assistant", "Done."))


def test_a_provider_that_asks_for_patience_is_not_asked_before_and_the_wait_is_no_hang(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatworker.runner.STEP_TIMEOUT", 0.5)
    monkeypatch.setattr("chatworker.runner.SILENCE_MARGIN", -3600.0)
    monkeypatch.setattr("chatworker.failure.BACKOFF_FROM", 0.05)
    with capture_logs() as logs:
        chat_id = create(owner, f"{uuid4()} [fail 429 retry-after 1 times 1] [say At last.]")
        wait_until_idle(chat_id, timeout=20)
    assert said(chat_id)[-1] == ("assistant", "At last.")
    assert [log["retry_after"] for log in logs if log["event"] == "generation.retried"] == [1.0]
    assert [log for log in logs if log["event"] == "runner.step_failed"] == []


def test_whoever_takes_a_chat_over_waits_for_as_long_as_the_provider_had_asked(
    owner: Any, told_to_nobody: list[UUID]
) -> None:
    chat_id = create(owner, "Hello")
    own(chat_id)
    due = {"delay_ms": 30_000, "retrying_at": f"{database_now() + timedelta(seconds=30):%Y-%m-%dT%H:%M:%SZ}"}
    with chat_update(chat_id) as update:
        transitions.record_generation_attempt(update)
        transitions.record_retry_state(update, due)
    step = _next_step(chat_id)
    assert isinstance(step, Wait)
    assert step.seconds == pytest.approx(29.5, abs=1)
    assert Chat.objects.get(pk=chat_id).generation_attempt == 1, "no attempt is spent on waiting"
    with chat_update(chat_id) as update:
        transitions.record_retry_state(update, {**due, "retrying_at": "2020-01-01T00:00:00Z"})
    assert isinstance(_next_step(chat_id), Generate)


@pytest.mark.parametrize(
    "retry_state",
    [{}, {"retrying_at": "soon", "delay_ms": 1}, {"retrying_at": "2999-01-01T00:00:00Z", "delay_ms": 1}],
    ids=["nothing of ours", "no time", "a clock that was wrong"],
)
def test_a_wait_that_makes_no_sense_is_none(
    retry_state: dict[str, Any], owner: Any, told_to_nobody: list[UUID]
) -> None:
    chat_id = create(owner, "Hello")
    own(chat_id)
    with chat_update(chat_id) as update:
        transitions.record_retry_state(update, retry_state)
    assert isinstance(_next_step(chat_id), Generate)


def _next_step(chat_id: UUID) -> Step:
    with chat_update(chat_id) as update:
        return begin_step(update)


@pytest.mark.parametrize("committed", [True, False], ids=["it had committed", "it had not"])
def test_a_commit_whose_outcome_is_unknown_is_tried_again_and_neither_lost_nor_doubled_nor_paid_twice(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    commit_answer, broken = generate._commit_answer, threading.Event()

    def breaks_once(*arguments: Any) -> Any:
        if broken.is_set():
            return commit_answer(*arguments)
        broken.set()
        if committed:
            commit_answer(*arguments)
        raise OperationalError("the connection was lost in COMMIT")

    monkeypatch.setattr(generate, "_commit_answer", breaks_once)
    chat_id = create(owner, "Hello [say Once.]")
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert broken.is_set()
    assert said(chat_id) == [("user", "Hello [say Once.]"), ("assistant", "Once.")]
    assert (snapshot.state, snapshot.chat.snapshot_version) == ("W", 3), "one attempt, one commit"


# --- taking a chat -----------------------------------------------------------------------------------------------


def own(chat_id: UUID) -> tuple[UUID, UUID]:
    """Give the chat to a worker that is not there."""
    worker_id, runner_id = uuid4(), uuid4()
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
    return worker_id, runner_id


def age_leases(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_runnerlease SET heartbeat_at = heartbeat_at - %s * interval '1 s'", [seconds])


@pytest.fixture
def told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    woken: list[UUID] = []
    monkeypatch.setattr(hints, "publish_wake_up", woken.append)
    return woken


def test_a_chat_with_a_fresh_lease_is_not_taken_and_not_changed(owner: Any, told_to_nobody: list[UUID]) -> None:
    chat_id = create(owner, "Hello")
    own(chat_id)
    before = Chat.objects.values().get(pk=chat_id)
    assert acquisition.acquire(chat_id, uuid4(), uuid4()) is None
    assert Chat.objects.values().get(pk=chat_id) == before
    assert acquisition.chats_without_owner(grace=0) == []


def test_a_chat_whose_lease_expired_is_found_and_taken_with_a_new_runner(
    owner: Any, told_to_nobody: list[UUID]
) -> None:
    chat_id = create(owner, "Hello")
    _, dead_runner = own(chat_id)
    age_leases(21)
    assert acquisition.chats_without_owner() == [chat_id]
    runner_id = uuid4()
    assert acquisition.acquire(chat_id, uuid4(), runner_id) is not None
    assert Chat.objects.get(pk=chat_id).runner_id == runner_id != dead_runner
    assert [lease.runner_id for lease in RunnerLease.objects.all()] == [runner_id]


def test_of_two_workers_that_want_a_chat_one_gets_it(owner: Any, told_to_nobody: list[UUID]) -> None:
    chat_id = create(owner, "Hello")
    start = threading.Barrier(2)

    def take(_: int) -> bool:
        start.wait()
        try:
            return acquisition.acquire(chat_id, uuid4(), uuid4()) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, range(2))) == [False, True]
    assert RunnerLease.objects.count() == 1


def test_a_chat_whose_row_is_held_for_too_long_is_left_to_the_next_wake_up(
    owner: Any, told_to_nobody: list[UUID]
) -> None:
    chat_id = create(owner, "Hello")

    def take() -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '50ms'")
            return acquisition.acquire(chat_id, uuid4(), uuid4()) is not None
        finally:
            connection.close()

    with capture_logs() as logs, ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Chat.objects.select_for_update().get(pk=chat_id)
            assert pool.submit(take).result() is False
        assert pool.submit(take).result() is True
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["chat.not_taken"]


@pytest.mark.parametrize("gone", ["deleted", "waiting", "archived"])
def test_a_chat_that_needs_nobody_is_skipped_silently(owner: Any, told_to_nobody: list[UUID], gone: str) -> None:
    chat_id = create(owner, "Hello")
    with connection.cursor() as cursor:
        if gone == "deleted":
            cursor.execute("DELETE FROM chat_chat WHERE id = %s", [chat_id])
        else:
            archived = gone == "archived"
            cursor.execute("UPDATE chat_chat SET status = 'waiting', archived = %s", [archived])
    with capture_logs() as logs:
        assert acquisition.acquire(chat_id, uuid4(), uuid4()) is None
    assert logs == []


@pytest.mark.parametrize("state", [State.E0, State.A0, State.XW, State.XE1])
def test_a_chat_that_waits_for_a_person_is_never_taken(state: State, owner: Any, told_to_nobody: list[UUID]) -> None:
    chat_id = chat_in(state, owner, owned=False)
    before = Chat.objects.values().get(pk=chat_id)
    assert acquisition.acquire(chat_id, uuid4(), uuid4()) is None
    assert Chat.objects.values().get(pk=chat_id) == before


def test_a_chat_whose_taking_was_committed_and_nobody_was_told_goes_on_at_once(
    owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the end of its lease, which nobody renews."""
    acquire, broken = manager.acquire, threading.Event()

    def breaks_once(*arguments: Any) -> Any:
        step = acquire(*arguments)
        if not broken.is_set():
            broken.set()
            raise OperationalError("the connection was lost in COMMIT")
        return step

    monkeypatch.setattr(manager, "acquire", breaks_once)
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        chat_id = create(owner, "Hello [say Here.]")
        wait_until_idle(chat_id, timeout=10)
        worker.stop(drain_timeout=0)
    assert broken.is_set()
    assert said(chat_id)[-1] == ("assistant", "Here.")


def test_a_sweep_that_fails_is_one_warning_and_none_while_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: Any) -> int:
        raise OperationalError("the database is away")

    monkeypatch.setattr("chatworker.worker.wake_waiting_chats", fails)

    async def one_round(*, is_stopping: bool) -> None:
        database = DatabaseThreads(1, name="test-sweep")
        try:
            await attempt("sweep", Sweep(database).once, is_stopping=lambda: is_stopping)
        finally:
            await asyncio.to_thread(database.close)

    with capture_logs() as logs:
        asyncio.run(one_round(is_stopping=False))
        asyncio.run(one_round(is_stopping=True))
    assert [(log["event"], log["loop"], log["log_level"]) for log in logs] == [("loop.failed", "sweep", "warning")]


def test_the_sweep_wakes_what_nobody_works_on_after_a_moment_of_grace(owner: Any, told_to_nobody: list[UUID]) -> None:
    chat_id = create(owner, "Hello")
    told_to_nobody.clear()
    assert acquisition.wake_waiting_chats(grace=60) == 0
    assert acquisition.wake_waiting_chats(grace=0) == 1
    assert told_to_nobody == [chat_id]


def test_a_lost_wake_up_is_made_good_by_the_workers_first_sweep(owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
    chat_id = create(owner, "Hello [say Found.]")
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        wait_until_idle(chat_id, timeout=10)
        worker.stop(drain_timeout=0)
    assert said(chat_id)[-1] == ("assistant", "Found.")


# --- leases ----------------------------------------------------------------------------------------------------


def test_one_statement_renews_what_is_fresh_and_owned_and_revives_nothing(
    owner: Any, told_to_nobody: list[UUID], django_assert_num_queries: Any
) -> None:
    worker_id = uuid4()
    keys = []
    for _ in range(3):
        chat_id, runner_id = create(owner, "Hello"), uuid4()
        with chat_update(chat_id) as update:
            transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
        keys.append((chat_id, runner_id))
    expired, taken, fresh = keys
    RunnerLease.objects.filter(runner_id=expired[1]).update(heartbeat_at="2020-01-01T00:00Z")
    own(taken[0])
    with django_assert_num_queries(1):
        assert leases.renew(worker_id, keys) == {fresh}
    assert RunnerLease.objects.get(runner_id=expired[1]).heartbeat_at.year == 2020
    assert not RunnerLease.objects.filter(runner_id=taken[1]).exists()


def test_the_reaper_deletes_expired_leases_and_keeps_fresh_ones(owner: Any, told_to_nobody: list[UUID]) -> None:
    old, new = create(owner, "Hello"), create(owner, "Hello")
    own(old)
    age_leases(21)
    own(new)
    assert leases.reap() == 1
    assert [lease.chat_id for lease in RunnerLease.objects.all()] == [new]
    assert acquisition.chats_without_owner(grace=0) == [old]


def test_a_runner_that_lost_its_chat_leaves_and_its_commit_is_refused(worker: ChatWorker, owner: Any) -> None:
    chat_id = create(owner, f"Hello {SLOW}")
    streaming(chat_id)
    before = chat_read(chat_id).chat
    own(chat_id)
    wait_until(lambda: chat_read(chat_id), lambda _: str(chat_id) not in worker.running_chats(), timeout=10)
    fence = Fence(before.worker_id, before.runner_id, before.history_version, before.status)
    with pytest.raises(StaleFence), chat_update(chat_id, fence=fence) as update:
        transitions.finish_turn(update)
    assert [role for role, _ in said(chat_id)] == ["user"]


# --- hints -----------------------------------------------------------------------------------------------------


def test_a_lost_hint_is_made_good_by_the_sync_tick(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = create(owner, f"Hello {SLOW}")
    streaming(chat_id)
    publish = hints.publish_update
    monkeypatch.setattr(hints, "publish_update", lambda chat, state: None)
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
    assert chat_read(chat_id).state == "I0"
    monkeypatch.setattr(hints, "publish_update", publish)
    worker.sync_now()
    snapshot = wait_until_idle(chat_id, timeout=5)
    assert snapshot.state == "W"


def test_a_sync_leaves_runners_alone_that_began_while_it_read(worker: ChatWorker, owner: Any) -> None:
    chats = [create(owner, f"Hello {number} [long 30] [interval 0.005]") for number in range(6)]
    stop = threading.Event()

    def sync_all_the_time() -> None:
        while not stop.is_set():
            worker.sync_now()
            stop.wait(0.002)

    syncing = threading.Thread(target=sync_all_the_time)
    syncing.start()
    try:
        for _ in range(3):
            for chat_id in chats:
                wait_until_idle(chat_id, timeout=10)
                with chat_update(chat_id) as update:
                    transitions.send_message(update, parts=[{"type": "text", "text": "More [at once]"}], author=owner)
        for chat_id in chats:
            assert wait_until_idle(chat_id, timeout=10).state == "W"
    finally:
        stop.set()
        syncing.join()


# --- the end ---------------------------------------------------------------------------------------------------


def test_a_worker_that_stops_hands_its_chats_over_and_another_goes_on(
    owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ChatWorker(slots=8), ChatWorker(slots=8)
    with ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(first.run_chat, chat_id))
        first.start()
        second.start()
        chat_id = create(owner, "Hello [long 60] [interval 0.02]")
        wait_until(first.running_chats, lambda running: running == [str(chat_id)], timeout=10)
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(second.run_chat, chat_id))
        first.stop(drain_timeout=0)
        assert chat_read(chat_id).chat.worker_id in (None, second.worker_id)
        wait_until_idle(chat_id, timeout=10)
        second.stop(drain_timeout=0)
    assert [role for role, _ in said(chat_id)] == ["user", "assistant"]
    assert not RunnerLease.objects.exists()


def test_a_draining_worker_finishes_what_it_began(owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        chat_id = create(owner, "Hello [long 30] [interval 0.02]")
        wait_until(lambda: chat_read(chat_id), lambda _: str(chat_id) in worker.running_chats(), timeout=10)
        worker.stop(drain_timeout=10)
    snapshot = chat_read(chat_id)
    assert (snapshot.state, snapshot.chat.snapshot_version) == ("W", 3)


@pytest.mark.parametrize("asked", ["[say one]", "[call weather {}] [then] [say one]"], ids=["a turn", "a call"])
def test_a_draining_worker_begins_no_call_that_it_might_have_to_cut(
    owner: Any, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """What follows the running step (the queue's next turn, the answer to a tool's result) is for another worker."""
    worker, answered, go_on = ChatWorker(slots=8), threading.Event(), threading.Event()
    commit_answer = generate._commit_answer

    def commits_when_told(*arguments: Any) -> Any:
        answered.set()
        go_on.wait(10)
        return commit_answer(*arguments)

    monkeypatch.setattr(generate, "_commit_answer", commits_when_told)
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        chat_id = create(owner, asked)
        assert answered.wait(10)
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=[{"type": "text", "text": "[say two]"}], author=owner)
        woken: list[UUID] = []
        monkeypatch.setattr(hints, "publish_wake_up", woken.append)
        stopping = pool.submit(worker.stop, drain_timeout=10)
        wait_until(lambda: chat_read(chat_id), lambda _: worker.is_closing, timeout=10)
        go_on.set()
        stopping.result(5)
    chat = chat_read(chat_id).chat
    assert (chat.status, chat.runner_id, chat.generation_attempt, woken) == ("running", None, 0, [chat_id])
    assert "two" not in [text for _, text in said(chat_id)]


@pytest.mark.parametrize(("drain", "state", "passed_on"), [(0, "R0", 1), (10, "W", 0)], ids=["handed over", "drained"])
def test_a_chat_that_is_being_taken_when_the_worker_is_told_to_stop_counts_as_running(
    owner: Any, monkeypatch: pytest.MonkeyPatch, drain: float, state: str, passed_on: int
) -> None:
    worker = ChatWorker(slots=8)
    taken, go_on = threading.Event(), threading.Event()

    def acquire(*ids: UUID) -> Any:
        step = acquisition.acquire(*ids)
        taken.set()
        go_on.wait(10)
        return step

    monkeypatch.setattr("chatworker.manager.acquire", acquire)
    woken: list[UUID] = []
    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
        worker.start()
        chat_id = create(owner, "Hello")
        pool.submit(worker.run_chat, chat_id)
        assert taken.wait(10)
        monkeypatch.setattr(hints, "publish_wake_up", woken.append)
        stopping = pool.submit(worker.stop, drain_timeout=drain)
        wait_until(lambda: chat_read(chat_id), lambda _: worker.is_closing, timeout=10)
        go_on.set()
        stopping.result(10)
    snapshot = chat_read(chat_id)
    assert (snapshot.state, snapshot.chat.runner_id, woken) == (state, None, [chat_id] * passed_on)


def test_a_wake_up_that_reaches_a_worker_that_was_told_to_stop_goes_to_another(
    owner: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Not before Celery has stopped to consume: it would only come back."""
    woken: list[UUID] = []
    monkeypatch.setattr(hints, "publish_wake_up", woken.append)
    monkeypatch.setattr("chatworker.worker.wake_waiting_chats", lambda **_: 0)  # it may still be at its first sweep
    monkeypatch.setattr(bootstep, "_consumes_no_more", threading.Event())
    monkeypatch.setattr(bootstep, "_was_told", False)
    settings.CHATD_WORKER_PORT = 0
    step = bootstep.ChatWorkerStep(None)
    step.start(SimpleNamespace(concurrency=4))
    with ThreadPoolExecutor(1) as pool:
        try:
            worker_shutting_down.send(sender="celery@here", sig="SIGTERM", how="Warm", exitcode=0)
            wait_until(lambda: bootstep._worker, lambda worker: worker is not None and worker.is_closing, timeout=10)
            chat_id = create(owner, "Hello")
            assert woken == [chat_id]
            visit = pool.submit(bootstep.run_chat, chat_id)
            wait_until(lambda: visit.running(), bool, timeout=10)
            assert woken == [chat_id]
        finally:
            step.stop(None)
        visit.result(10)
    assert woken == [chat_id, chat_id]
    snapshot = chat_read(chat_id)
    assert (snapshot.state, snapshot.chat.generation_attempt) == ("R0", 0)


class NeverTurns(asyncio.SelectorEventLoop):
    """A loop at the moment of its end: it still takes calls, and looks at none."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = threading.Event()

    def call_soon_threadsafe(self, *call: Any, **how: Any) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(*call, **how)
        self.was_asked.set()
        return handle


def test_a_wake_up_that_the_loop_never_looked_at_is_said_not_to_have_been_taken(owner: Any) -> None:
    worker, never_turns = ChatWorker(slots=1), NeverTurns()
    worker.start()
    turns = worker._loop
    with ThreadPoolExecutor(1) as pool:
        try:
            worker._loop = never_turns
            visit = pool.submit(worker.run_chat, uuid4())
            assert never_turns.was_asked.wait(10)
            assert not visit.done()
        finally:
            worker._loop = turns
            worker.stop(drain_timeout=0)
            never_turns.close()
        assert visit.result(10) is False


def test_a_wake_up_that_comes_when_the_loop_is_closed_is_said_not_to_have_been_taken(owner: Any) -> None:
    worker, closed = ChatWorker(slots=1), asyncio.new_event_loop()
    closed.close()
    worker.start()
    turns = worker._loop
    try:
        worker._loop = closed
        assert not worker.run_chat(uuid4())
    finally:
        worker._loop = turns
        worker.stop(drain_timeout=0)


def test_who_tells_a_worker_twice_to_stop_is_out_of_patience(
    owner: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CHATD_WORKER_PORT, settings.CHATD_DRAIN_TIMEOUT = 0, 3600
    monkeypatch.setattr(bootstep, "_consumes_no_more", threading.Event())
    monkeypatch.setattr(bootstep, "_was_told", False)
    step = bootstep.ChatWorkerStep(None)
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(bootstep.run_chat, chat_id))
        step.start(SimpleNamespace(concurrency=4))
        try:
            chat_id = create(owner, "Hello [long 2000] [interval 0.05]")
            streaming(chat_id)
            monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
            for _ in range(2):
                worker_shutting_down.send(sender="celery@here", sig="SIGTERM", how="Warm", exitcode=0)
            wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.runner_id is None, timeout=10)
        finally:
            step.stop(None)
    assert chat_read(chat_id).state == "R0"


def test_a_worker_is_started_once(worker: ChatWorker) -> None:
    with pytest.raises(RuntimeError):
        worker.start()


def test_a_second_signal_ends_the_draining_at_once(owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        chat_id = create(owner, "Hello [long 2000] [interval 0.05]")
        streaming(chat_id)
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
        with bootstep._a_second_signal_calls(worker.hand_over_now):
            stopping = pool.submit(worker.stop, drain_timeout=3600)
            wait_until(lambda: chat_read(chat_id), lambda _: worker.is_closing, timeout=10)
            assert not stopping.done()
            signal.raise_signal(signal.SIGTERM)
            stopping.result(10)
    snapshot = chat_read(chat_id)
    assert (snapshot.state, snapshot.chat.runner_id) == ("R0", None)


def test_outside_of_draining_signals_are_celerys_own_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with bootstep._a_second_signal_calls(lambda: None):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_step_that_takes_too_long_is_begun_again(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatworker.runner.STEP_TIMEOUT", 0.2)
    monkeypatch.setattr("chatworker.runner.SILENCE_MARGIN", -3600.0)
    with capture_logs() as logs:
        chat_id = create(owner, "Hello [long 2000] [interval 0.05]")
        wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt >= 2, timeout=10)
        monkeypatch.setattr("chatworker.runner.STEP_TIMEOUT", 900.0)
    failed = [line for line in logs if line["event"] == "runner.step_failed"]
    assert failed and failed[0]["step"] == "Generate"
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
    wait_until_idle(chat_id, timeout=10)
    assert chat_read(chat_id).state == "W"


def test_a_worker_says_how_it_is(worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.health()["status"] == "ok"
    chat_id = create(owner, SLOW)
    wait_until(worker.running_chats, lambda running: running == [str(chat_id)], timeout=10)
    assert (worker.health()["running_chats"], worker.health()["slots"]) == (1, 8)
    monkeypatch.setattr("chatworker.worker.STUCK_AFTER", 0.0)
    assert worker.health()["status"] == "stuck"
