"""Workers that stand still for longer than a lease: in their event loop, in a transaction, as a whole process."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from chat import crash, hints, transitions
from chat.crash import Chaos
from chat.models import Chat, RunnerLease
from chat.update import chat_read, chat_update
from chatworker import acquisition
from chatworker.testing import wait_until, wait_until_idle
from tests.injected import (
    Books,
    asked,
    balance,
    beating,
    counted_calls,
    database_clock,
    running_workers,
    wait_until_all_rest,
)
from tests.worker_processes import database_url, worker_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
LEASE_TTL = 2.0
AT_THE_END, REFUSAL = "answer.commit.before", "door.fence_refused"
SLOW = "[chunks 9] [interval 0.1]"
SLOWER = "[chunks 8] [interval 0.4]"
"""An answer of more than three seconds: a busy machine starts four of them before the first one ends."""


@pytest.fixture
def owner(owner: Any, settings: Any) -> Any:
    settings.CHATD_LEASE_TTL, settings.CHATD_HEARTBEAT_INTERVAL = LEASE_TTL, 0.3
    return owner


def start_chat(owner: Any, number: int, more: str = "") -> UUID:
    return transitions.create_chat(owner=owner, parts=[{"type": "text", "text": asked(number, more=more)}]).pk


def is_streaming(chat_id: UUID) -> None:
    wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt > 0, timeout=30)


def until_the_clock_says(when: float) -> None:
    """Of the database, whose clock counts for leases."""
    wait_until(database_clock, lambda now: now >= when, timeout=60)


def test_a_worker_whose_event_loop_is_blocked_for_longer_than_a_lease_keeps_its_chats(
    owner: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CHATD_LEASE_TTL = 3 * LEASE_TTL  # nor may a busy machine, which is late with heartbeats, take them away
    go_on = threading.Event()
    with counted_calls(monkeypatch) as calls, running_workers(1) as (worker,):
        chat_id = start_chat(owner, 1, SLOW)
        is_streaming(chat_id)
        wait_until(worker.running_chats, lambda running: running == [str(chat_id)], timeout=10)
        assert worker._loop is not None
        try:
            worker._loop.call_soon_threadsafe(go_on.wait, 60)
            until_the_clock_says(database_clock() + 4 * LEASE_TTL)
            assert acquisition.chats_without_owner(grace=0) == []
            assert acquisition.acquire(chat_id, uuid4(), uuid4()) is None, "its lease is fresh"
        finally:
            go_on.set()
        wait_until_idle(chat_id, timeout=30)
    assert calls == {asked(1, more=SLOW): 1}, "nobody else was at it"
    assert balance(Books(ok=[asked(1, more=SLOW)])) == 1


def test_a_blocked_event_loop_whose_chat_was_taken_all_the_same_is_refused(
    owner: Any, arm: Callable[[str], Chaos], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Its heartbeats are lost as well; the answer that it commits when it goes on is one too many."""
    settings.CHATD_LEASE_TTL = 60.0  # by its own clock it has time: only the fence is in its way
    go_on, stands_still = threading.Event(), threading.Event()

    def stand_still_once(point: str) -> bool:
        if point == AT_THE_END and not stands_still.is_set():
            stands_still.set()
            go_on.wait(60)
        return crash.crash_point(point)

    monkeypatch.setattr("chatworker.work.generate.crash_point", stand_still_once)
    chaos = arm(f"{REFUSAL}=note*")
    with running_workers(1) as (worker,):
        chat_id = start_chat(owner, 1, SLOW)
        assert stands_still.wait(30)
        assert chaos._fired[REFUSAL] == 0
        try:
            with running_workers(1):
                RunnerLease.objects.update(heartbeat_at="2020-01-01T00:00Z")
                wait_until_idle(chat_id, timeout=30)
        finally:
            go_on.set()
        wait_until(lambda: chat_read(chat_id), lambda _: worker.running_chats() == [], timeout=30)
    assert chaos._fired[REFUSAL] == 1, "its answer came too late"
    assert balance(Books(ok=[asked(1, more=SLOW)])) == 1


@pytest.mark.parametrize("after_the_lease", [True, False], ids=["for longer than a lease", "for a moment"])
def test_a_process_that_was_stopped_in_mid_answer_writes_nothing_twice_when_it_goes_on(
    owner: Any, tmp_path: Path, after_the_lease: bool
) -> None:
    leases = {"CHATD_LEASE_TTL": f"{LEASE_TTL:g}", "CHATD_HEARTBEAT_INTERVAL": "0.3", "CHATD_DRAIN_TIMEOUT": "0"}
    points = f"{AT_THE_END}=sleep:3; {REFUSAL}=note*"
    noted = {"CHATD_CHAOS": "1", "CHATD_CHAOS_DIR": str(tmp_path), "CHATD_CRASH_POINTS": points}
    with worker_process(tmp_path, database_url(), name="chat-worker-1", **leases, **noted) as stopped:
        chats = [start_chat(owner, number, SLOWER) for number in range(1, 5)]
        for chat_id in chats:
            is_streaming(chat_id)
        wait_until(database_clock, lambda _: has_noted(tmp_path, AT_THE_END), timeout=30)
        stopped.send(signal.SIGSTOP)
        left = RunnerLease.objects.count()
        assert left > 0
        with worker_process(tmp_path, database_url(), name="chat-worker-2", **leases) as other, beating():
            if after_the_lease:
                wait_until_all_rest(timeout=60)
                assert other.log().count("chat.taken_over") == left
                assert not has_noted(tmp_path, REFUSAL)
            stopped.send(signal.SIGCONT)
            wait_until_all_rest(timeout=60)
            later = start_chat(owner, 5)  # it is still of use
            wait_until_idle(later, timeout=30)
            if after_the_lease:
                wait_until(database_clock, lambda _: has_noted(tmp_path, REFUSAL), timeout=30)
        assert stopped.deaths == []
    assert balance(Books(ok=[asked(5), *(asked(number, more=SLOWER) for number in range(1, 5))])) == 5


def has_noted(directory: Path, point: str) -> bool:
    notes = directory / "faults.jsonl"
    return notes.exists() and f'"{point}"' in notes.read_text()


def test_a_row_lock_that_is_held_by_somebody_who_hangs_is_freed_after_five_seconds(
    owner: Any, arm: Callable[[str], Chaos], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
    chat_id = start_chat(owner, 1)
    arm("door.locked=sleep:8")
    hangs = threading.Thread(target=acquisition_that_fails, args=(chat_id,))
    hangs.start()
    wait_until(
        lambda: chat_read(chat_id),
        lambda _: crash.armed is not None and bool(crash.armed._fired["door.locked"]),
        timeout=10,
    )
    began, refused = database_clock(), 0
    while True:
        try:
            with chat_update(chat_id) as update:
                transitions.interrupt(update)
            break
        except OperationalError:
            refused += 1
    assert refused >= 1, "nobody waits for the lock for more than two seconds"
    assert database_clock() - began < 8
    hangs.join()
    assert Chat.objects.get(pk=chat_id).runner_id is None, "what the one who hung had begun is undone"


def acquisition_that_fails(chat_id: UUID) -> None:
    from django.db import DatabaseError, connections

    try:
        with pytest.raises(DatabaseError):
            acquisition.acquire(chat_id, uuid4(), uuid4())
    finally:
        connections.close_all()


def test_an_answer_whose_commit_hung_for_too_long_is_committed_again_and_not_paid_twice(
    owner: Any, arm: Callable[[str], Chaos], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CHATD_LEASE_TTL = 20.0  # as usual: longer than Postgres lets a transaction hang
    with counted_calls(monkeypatch) as calls, running_workers(1):
        chaos = arm("door.commit.before=sleep:6@2")  # the first one takes the chat, the second one is the answer's
        chat_id = start_chat(owner, 1, SLOW)
        wait_until_idle(chat_id, timeout=60)
    assert chaos._fired["door.commit.before"] == 1
    assert balance(Books(ok=[asked(1, more=SLOW)])) == 1
    assert calls == {asked(1, more=SLOW): 1}
