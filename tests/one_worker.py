"""One chat worker in this process and nothing besides: no beat, no other worker that would make good what it misses."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat import hints, transitions
from chat.update import chat_update
from chatworker.testing import wait_until
from chatworker.worker import ChatWorker

ENDLESS = "Go on [long 4000] [interval 0.02]"
"""An answer that ends after any test; who waits for its end waits in vain."""


@contextmanager
def one_worker(monkeypatch: pytest.MonkeyPatch, *, slots: int = 8) -> Iterator[ChatWorker]:
    """Started, and listening to Redis; hears wake-ups at once, as Celery's pool would."""
    worker = ChatWorker(slots=slots)
    with ThreadPoolExecutor(slots, thread_name_prefix="pool") as pool:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: pool.submit(worker.run_chat, chat_id))
        worker.start()
        try:
            _until_it_listens()
            yield worker
        finally:
            worker.stop(drain_timeout=0)


def _until_it_listens() -> None:
    wait_until(
        lambda: hints.redis_client().pubsub_numsub("chatd:keep-open"), lambda found: found[0][1] == 1, timeout=10
    )


def create(owner: Any, text: str) -> UUID:
    return transitions.create_chat(owner=owner, parts=[{"type": "text", "text": text}]).pk


def until_it_runs(worker: ChatWorker, chat_id: UUID) -> None:
    """Until the worker has a runner for the chat."""
    wait_until(worker.running_chats, lambda running: running == [str(chat_id)], timeout=10)


@contextmanager
def no_hints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What happens meanwhile is told to nobody."""
    with monkeypatch.context() as silent:
        silent.setattr(hints, "publish_update", lambda chat, state: None)
        silent.setattr(hints, "publish_wake_up", lambda chat_id: None)
        yield


def take_over(chat_id: UUID) -> tuple[UUID, UUID]:
    """Give the chat to a worker that is not there; its (worker, runner)."""
    worker_id, runner_id = uuid4(), uuid4()
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
    return worker_id, runner_id
