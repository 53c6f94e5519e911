"""A fence is compared with the locked row, field by field, before anything else happens."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from chat import transitions
from chat.errors import ChatNotFound, StaleFence
from chat.execution import State
from chat.update import Fence, chat_read, chat_update
from tests.factories import RUNNER, SAID, WORKER, chat_in, chat_row, history_of, nowhere, photograph
from tests.threads import Threads, wait_until_somebody_waits_for_a_lock
from tests.transition_calls import ANSWER

R0 = State.R0

rolled_back = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def fence(**other: Any) -> Fence:
    """The fence of the owner of a chat that `chat_in(R0, …)` made."""
    return replace(Fence(WORKER, RUNNER, history_version=3, status="running", generation_attempt=2), **other)


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
