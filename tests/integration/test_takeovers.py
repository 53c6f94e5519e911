"""A worker whose chat another one has taken, or might have: it leaves, and changes nothing of what is not its own."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from chat import hints
from chat.crash import Chaos
from chat.models import RunnerLease
from chat.update import chat_read
from chatworker.testing import wait_until, wait_until_idle
from chatworker.worker import ChatWorker
from tests.factories import photograph_of
from tests.one_worker import ENDLESS, create, no_hints, one_worker, take_over, until_it_runs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(owner: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatWorker]:
    """One whose heart beats when it is told to and not by itself, so that no heartbeat tells it what happened."""
    settings.CHATD_HEARTBEAT_INTERVAL = 3600.0
    with one_worker(monkeypatch) as worker:
        yield worker


def test_a_worker_that_stops_does_not_give_away_what_another_has_taken(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = create(owner, ENDLESS)
    until_it_runs(worker, chat_id)
    with no_hints(monkeypatch):
        take_over(chat_id)
        before = photograph_of(chat_id)
        worker.stop(drain_timeout=0)
    assert photograph_of(chat_id) == before


def test_a_runner_whose_commit_is_refused_begins_nothing_more_of_what_another_has_taken(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = create(owner, "Hello [long 30] [interval 0.02]")
    until_it_runs(worker, chat_id)
    with no_hints(monkeypatch):
        take_over(chat_id)
        before = photograph_of(chat_id)
        wait_until(worker.running_chats, lambda running: running == [], timeout=10)
    assert photograph_of(chat_id) == before


def test_a_runner_that_hears_of_another_owner_leaves_long_before_its_answer_ends(
    worker: ChatWorker, owner: Any
) -> None:
    chat_id = create(owner, ENDLESS)
    until_it_runs(worker, chat_id)
    take_over(chat_id)
    before = photograph_of(chat_id)
    wait_until(worker.running_chats, lambda running: running == [], timeout=10)
    assert photograph_of(chat_id) == before


def test_a_runner_whose_lease_is_gone_ends_with_the_next_heartbeat(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chat is still its own by the row, so nothing but the heartbeat tells it."""
    chat_id = create(owner, ENDLESS)
    until_it_runs(worker, chat_id)
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)
    RunnerLease.objects.all().delete()
    worker.heartbeat_now()
    wait_until(worker.running_chats, lambda running: running == [], timeout=10)
    assert chat_read(chat_id).chat.generation_attempt == 1


def test_a_step_that_fails_for_a_reason_that_nobody_foresaw_is_begun_again_by_the_same_runner(
    worker: ChatWorker, owner: Any, arm: Callable[[str], Chaos], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while that grows: given back, the chat would be taken and fail again as fast as workers can."""
    woken: list[UUID] = []
    wake = hints.publish_wake_up

    def heard(chat_id: UUID) -> None:
        woken.append(chat_id)
        wake(chat_id)

    monkeypatch.setattr(hints, "publish_wake_up", heard)
    chaos = arm("model.answered=raise")
    chat_id = create(owner, "Hello [say Good day.]")
    snapshot = wait_until_idle(chat_id, timeout=10)
    assert chaos._fired["model.answered"] == 1
    assert snapshot.messages[-1]["parts"] == [{"type": "text", "text": "Good day."}]
    assert woken == [chat_id], "for the first message, and for nothing else"
