"""Hints that come late, and those that nobody could hear: a runner is not misled, and misses nothing for long."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chat import hints, transitions
from chat.channels import Hint, hint_channel
from chat.models import Chat
from chat.stream.listener import Listener
from chat.update import chat_read, chat_update
from chatworker.testing import wait_until, wait_until_idle
from chatworker.worker import ChatWorker
from tests.injected import counted_calls
from tests.one_worker import ENDLESS, create, no_hints, one_worker, until_it_runs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(owner: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatWorker]:
    """One that does not look by itself what it might have missed, in the time of a test."""
    monkeypatch.setattr("chatworker.worker.SYNC_EVERY", 3600.0)
    with one_worker(monkeypatch) as worker:
        yield worker


def interrupt(chat_id: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.interrupt(update)


def test_a_late_hint_of_what_is_over_neither_ends_the_work_nor_begins_it_again(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted_calls(monkeypatch) as calls:
        with no_hints(monkeypatch):
            chat_id = create(owner, ENDLESS)
        nobodys = Hint.of(Chat.objects.get(pk=chat_id))
        hints.publish_wake_up(chat_id)
        until_it_runs(worker, chat_id)
        hints._publisher().publish(hint_channel(chat_id), nobodys.encode())
        interrupt(chat_id)
        wait_until_idle(chat_id, timeout=10)
    assert calls == {ENDLESS: 1}


def test_a_stop_between_the_taking_of_a_chat_and_its_subscription_is_not_missed(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe, go_on = Listener.subscribe, threading.Event()

    async def late(*arguments: Any) -> None:
        await asyncio.to_thread(go_on.wait, 10)
        await subscribe(*arguments)

    monkeypatch.setattr(Listener, "subscribe", late)
    chat_id = create(owner, ENDLESS)
    try:
        wait_until(lambda: chat_read(chat_id), lambda found: found.chat.generation_attempt > 0, timeout=10)
        interrupt(chat_id)
    finally:
        go_on.set()
    wait_until_idle(chat_id, timeout=10)


def test_a_stop_while_the_connection_for_hints_is_broken_is_heard_when_it_is_back(
    worker: ChatWorker, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = create(owner, ENDLESS)
    until_it_runs(worker, chat_id)
    with no_hints(monkeypatch):
        interrupt(chat_id)
    hints.redis_client().client_kill_filter(_type="pubsub")
    wait_until_idle(chat_id, timeout=10)
