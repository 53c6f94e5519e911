"""Dead workers are found by the lock that their process held, long before their heartbeats expire."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections

from chat import presence
from chat.execution import State
from chat.models import Chat, RunnerLease, WorkerProcess
from chat.presence import CONFIRMED_AFTER, FORGOTTEN_AFTER, DeadWorkers, Presence, forget_dead_workers
from chatworker import acquisition
from chatworker.acquisition import chats_without_owner, wake_waiting_chats
from chatworker.leases import Heartbeat
from chatworker.testing import wait_until
from tests.factories import WORKER, chat_in

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dead_workers(clock: Clock) -> DeadWorkers:
    return DeadWorkers(clock)


def age_heartbeats(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_runnerlease SET heartbeat_at = now() - %s * interval '1 second'", [seconds])


@contextmanager
def alive(worker_id: UUID = WORKER, slots: int = 3) -> Iterator[Callable[[], None]]:
    """A worker whose lock is held by a connection of its own; calling the value cuts it, as kill -9 does."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            Presence(worker_id, slots=slots).hold()
            held.set()
            over.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)

    def die() -> None:
        over.set()
        thread.join(10)
        wait_until(_locks, lambda count: count == 0, timeout=5)

    try:
        yield die
    finally:
        over.set()
        thread.join(10)


def _locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1")
        return int(cursor.fetchone()[0])


def test_the_leases_of_a_dead_worker_are_taken_at_the_second_look(
    user: Any, dead_workers: DeadWorkers, clock: Clock
) -> None:
    chat_id = chat_in(State.R0, user)
    with alive() as die:
        age_heartbeats(2)
        die()
        assert dead_workers.take_leases() == 0
        clock.now += CONFIRMED_AFTER + 0.1
        assert dead_workers.take_leases() == 1
    assert not RunnerLease.objects.exists()
    assert chats_without_owner() == [chat_id]


def test_a_living_worker_keeps_its_leases_however_late_its_heartbeat(
    user: Any, dead_workers: DeadWorkers, clock: Clock
) -> None:
    chat_in(State.R0, user)
    with alive():
        age_heartbeats(15)
        for _ in range(3):
            assert dead_workers.take_leases() == 0
            clock.now += 5
    assert RunnerLease.objects.count() == 1


def test_a_fresh_heartbeat_is_proof_of_life_whatever_the_lock_says(
    user: Any, dead_workers: DeadWorkers, clock: Clock
) -> None:
    chat_in(State.R0, user)
    for _ in range(3):
        assert dead_workers.take_leases() == 0
        clock.now += 5
    assert RunnerLease.objects.count() == 1


def test_a_worker_that_takes_its_lock_again_between_two_looks_is_not_dead(
    user: Any, dead_workers: DeadWorkers, clock: Clock
) -> None:
    chat_in(State.R0, user)
    age_heartbeats(2)
    assert dead_workers.take_leases() == 0
    with alive() as die:
        clock.now += CONFIRMED_AFTER + 0.1
        assert dead_workers.take_leases() == 0
        die()
    assert dead_workers.take_leases() == 0  # free again: this look is the first one
    clock.now += CONFIRMED_AFTER + 0.1
    assert dead_workers.take_leases() == 1


def test_a_worker_that_takes_its_lock_again_between_the_last_look_and_the_deletion_keeps_its_leases(
    user: Any, dead_workers: DeadWorkers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_in(State.R0, user)
    age_heartbeats(2)
    assert dead_workers.take_leases() == 0
    clock.now += CONFIRMED_AFTER + 0.1
    look = presence._workers_without_lock
    with ExitStack() as living:

        def then_it_is_back() -> set[UUID]:
            suspects = look()
            living.enter_context(alive())
            return suspects

        monkeypatch.setattr(presence, "_workers_without_lock", then_it_is_back)
        assert dead_workers.take_leases() == 0
    assert RunnerLease.objects.count() == 1


def test_the_sweep_wakes_the_chats_of_a_dead_worker_long_before_its_leases_are_over(
    user: Any, dead_workers: DeadWorkers, clock: Clock, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acquisition, "dead_workers", dead_workers)
    chat_id = chat_in(State.R0, user)
    age_heartbeats(2)
    assert wake_waiting_chats() == 0
    clock.now += CONFIRMED_AFTER + 0.1
    assert wake_waiting_chats() == 1
    assert published == [("wake-up", chat_id)]


def test_two_looks_too_close_together_or_too_far_apart_prove_nothing(
    user: Any, dead_workers: DeadWorkers, clock: Clock
) -> None:
    chat_in(State.R0, user)
    age_heartbeats(2)
    assert dead_workers.take_leases() == 0
    clock.now += CONFIRMED_AFTER / 2
    assert dead_workers.take_leases() == 0
    clock.now += FORGOTTEN_AFTER + 1
    assert dead_workers.take_leases() == 0


def test_only_the_dead_one_of_two_workers_loses_its_leases(user: Any, dead_workers: DeadWorkers, clock: Clock) -> None:
    chat_in(State.R0, user)
    others = chat_in(State.R0, user)
    other = uuid4()
    RunnerLease.objects.filter(chat_id=others).update(worker_id=other)
    Chat.objects.filter(pk=others).update(worker_id=other)
    age_heartbeats(2)
    with alive(other):
        dead_workers.take_leases()
        clock.now += CONFIRMED_AFTER + 0.1
        assert dead_workers.take_leases() == 1
    assert RunnerLease.objects.get().chat_id == others


def test_a_worker_has_a_row_while_it_lives_and_the_dead_ones_are_cleared_away(db: None) -> None:
    dead, living = uuid4(), uuid4()
    with alive(dead) as die:
        die()
    with alive(living, slots=7):
        assert WorkerProcess.objects.count() == 2
        assert forget_dead_workers() == 1
        row = WorkerProcess.objects.get()
        assert (row.worker_id, row.slots, row.draining_since) == (living, 7, None)


def test_a_heartbeat_whose_connection_broke_takes_its_lock_and_beats_again(user: Any) -> None:
    chat_in(State.R0, user)
    runner = RunnerLease.objects.get().runner_id
    beats: list[set[Any]] = []
    heartbeat = Heartbeat(
        WORKER,
        slots=1,
        interval=3600,
        running=lambda: [(uuid4(), runner)],
        renewed=lambda asked, kept, at: beats.append(kept),
    )
    heartbeat.start()
    try:
        wait_until(_locks, lambda count: count == 1, timeout=5)
        wait_until(lambda: len(beats), lambda count: count == 1, timeout=5)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        wait_until(lambda: len(beats), lambda count: count == 2, timeout=5)
        assert _locks() == 1
    finally:
        heartbeat.stop()
    assert not WorkerProcess.objects.exists()


def test_a_worker_that_drains_says_so(db: None) -> None:
    heartbeat = Heartbeat(WORKER, slots=1, interval=3600, running=lambda: [], renewed=lambda *_: None)
    heartbeat.start()
    try:
        wait_until(WorkerProcess.objects.count, lambda count: count == 1, timeout=5)
        heartbeat.drain()
        wait_until(lambda: WorkerProcess.objects.get().draining_since, lambda since: since is not None, timeout=5)
    finally:
        heartbeat.stop()
