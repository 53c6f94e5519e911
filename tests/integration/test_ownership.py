"""Who has a chat has its only lease; a chat that nobody has, has none."""

from typing import Any
from uuid import uuid4

import pytest

from chat import transitions
from chat.execution import State
from chat.models import RunnerLease
from chat.update import chat_update
from tests.factories import LIVE_STATES, RUNNER, SOME_DAY, WORKER, chat_in, chat_row
from tests.transition_calls import NEW_RUNNER, NEW_WORKER

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", LIVE_STATES)
def test_an_owner_has_the_only_lease_and_an_unowned_chat_has_none(state: State, user: Any) -> None:
    chat_id, other = chat_in(state, user), chat_in(state, user)
    RunnerLease.objects.create(chat_id=chat_id, runner_id=uuid4(), worker_id=WORKER, heartbeat_at=SOME_DAY)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
    lease = RunnerLease.objects.get(chat_id=chat_id)
    assert (lease.worker_id, lease.runner_id) == (NEW_WORKER, NEW_RUNNER)
    RunnerLease.objects.create(chat_id=chat_id, runner_id=uuid4(), worker_id=WORKER, heartbeat_at=SOME_DAY)
    with chat_update(chat_id) as update:
        transitions.abandon(update)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()
    assert RunnerLease.objects.get(chat_id=other).runner_id == RUNNER


def test_a_takeover_that_ends_at_once_leaves_no_lease(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
        transitions.finish_error(update, {"message": "no model"})
        transitions.abandon(update)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()
    assert chat_row(chat_id)["runner_id"] is None


def test_a_chat_that_is_given_up_and_taken_again_in_one_transaction_is_owned(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    with chat_update(chat_id) as update:
        transitions.abandon(update)
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
    assert RunnerLease.objects.get(chat_id=chat_id).runner_id == chat_row(chat_id)["runner_id"] == NEW_RUNNER


def test_an_owner_who_acquires_again_gets_a_fresh_lease(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    RunnerLease.objects.filter(chat_id=chat_id).update(heartbeat_at=SOME_DAY, acquired_at=SOME_DAY)
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=WORKER, runner_id=RUNNER)
    lease = RunnerLease.objects.get(chat_id=chat_id)
    assert (lease.worker_id, lease.runner_id) == (WORKER, RUNNER)
    assert lease.heartbeat_at > SOME_DAY
    assert lease.acquired_at > SOME_DAY


@pytest.mark.parametrize("state", LIVE_STATES)
def test_acquiring_looks_at_nothing_not_even_at_a_fresh_lease(state: State, user: Any) -> None:
    chat_id = chat_in(state, user)  # whose owner is well
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
    row = chat_row(chat_id)
    assert (row["worker_id"], row["runner_id"]) == (NEW_WORKER, NEW_RUNNER)
