"""How seldom a Celery worker looks for garbage."""

import gc
from collections.abc import Iterator

import pytest
from celery.signals import worker_init, worker_ready

from config import celery


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_before_the_first_chat_is_not_looked_at_again(collector: None) -> None:
    assert gc.get_freeze_count() == 0
    worker_ready.send(sender="celery@here")
    assert gc.get_freeze_count() > 100_000


def test_a_worker_that_starts_collects_seldom_from_then_on(collector: None) -> None:
    worker_init.send(sender="celery@here")
    assert gc.get_threshold() == celery.COLLECT_AFTER
