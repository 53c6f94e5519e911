"""A worker's loops: which errors are worth a word, and that none of them ends the loop."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatworker.loops import repeat, should_log_loop_error


def _wrapped() -> BaseException:
    try:
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError as cancelled:
            raise RuntimeError("the client gave up") from cancelled
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("is_stopping", "error", "logged"),
    [
        pytest.param(False, None, False, id="running, no error"),
        pytest.param(True, ValueError(), False, id="stopping, error"),
        pytest.param(False, asyncio.CancelledError(), False, id="running, cancelled"),
        pytest.param(False, _wrapped(), False, id="running, wrapped cancellation"),
        pytest.param(
            False, BaseExceptionGroup("", [asyncio.CancelledError(), _wrapped()]), False, id="running, all cancelled"
        ),
        pytest.param(False, ValueError(), True, id="running, error"),
        pytest.param(False, ExceptionGroup("", [TimeoutError(), ValueError()]), True, id="error beside a time-out"),
        pytest.param(
            False,
            BaseExceptionGroup("", [asyncio.CancelledError(), ValueError()]),
            True,
            id="error beside a cancellation",
        ),
    ],
)
def test_an_error_of_a_loop_is_logged_if_it_says_anything(
    is_stopping: bool, error: BaseException | None, logged: bool
) -> None:
    assert should_log_loop_error(error, is_stopping=is_stopping) is logged


class Rounds:
    """An action that fails in its first round and ends the loop in its third, and a sleep that takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.done = 0

    async def once(self) -> None:
        self.done += 1
        if self.done == 1:
            raise OSError("away")
        if self.done == 3:
            raise asyncio.CancelledError

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def _run(**how: Any) -> tuple[Rounds, list[Any]]:
    rounds = Rounds()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        asyncio.run(repeat("sweep", rounds.once, every=5, is_stopping=lambda: False, sleep=rounds.sleep, **how))
    return rounds, logs


def test_a_round_that_fails_is_logged_once_and_the_next_one_comes() -> None:
    rounds, logs = _run()
    assert (rounds.done, rounds.slept) == (3, [5, 5, 5])
    assert [(line["event"], line["loop"]) for line in logs] == [("loop.failed", "sweep")]


def test_a_loop_may_begin_at_once() -> None:
    rounds, _ = _run(at_once=True)
    assert rounds.slept == [5, 5]
