"""A fence holds only while the row says exactly what it said when the work began: each part of it counts."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from chat.models import Chat
from chat.update import Fence

WORKER, RUNNER, SOMEBODY_ELSE = UUID(int=1), UUID(int=2), UUID(int=3)
FENCE = Fence(WORKER, RUNNER, history_version=7, status="running", generation_attempt=2)


def row(**changed: Any) -> Chat:
    ours = {"worker_id": WORKER, "runner_id": RUNNER, "history_version": 7, "status": "running", "archived": False}
    return Chat(**{**ours, "generation_attempt": 2, **changed})


def test_a_fence_holds_while_nothing_has_changed() -> None:
    assert FENCE.holds(row(snapshot_version=99, queue_version=98, title="another title"))


@pytest.mark.parametrize(
    "changed",
    [
        {"worker_id": SOMEBODY_ELSE},
        {"worker_id": None},
        {"runner_id": SOMEBODY_ELSE},
        {"runner_id": None},
        {"history_version": 8},
        {"status": "interrupting"},
        {"archived": True},
        {"generation_attempt": 3},
        {"generation_attempt": 0},
    ],
    ids=str,
)
def test_a_fence_does_not_hold_once_this_has_changed(changed: dict[str, Any]) -> None:
    assert not FENCE.holds(row(**changed))


def test_a_fence_that_names_no_attempt_is_good_for_all_of_them() -> None:
    assert replace(FENCE, generation_attempt=None).holds(row(generation_attempt=9))
