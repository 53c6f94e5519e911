"""One runner: hints in, work out. What it works on is a stand-in that the test controls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from chat.errors import ChatNotFound, StaleFence
from chatworker import runner as runner_module
from chatworker.runner import CHANNEL_SIZE, RETRY_FROM, RETRY_UP_TO, STEP_TIMEOUT, Runner, _lasts
from chatworker.work.step import Done, Generate, Interrupt, Look, Step, Wait
from tests.runners import Spy, generation, hint, surroundings

CHAT, WORKER, RUNNER = uuid4(), uuid4(), uuid4()
MINE = {"worker_id": str(WORKER), "runner_id": str(RUNNER)}
DONE = Done(CHAT, 99)


def step(version: int = 1) -> Generate:
    return generation(CHAT, WORKER, RUNNER, version=version)


def lived(
    runner: Runner, first: Step, scenario: Callable[[Runner], Awaitable[None]] | None = None, within: float = 5
) -> None:
    """The runner's whole life, the scenario beside it."""

    async def life() -> None:
        async with asyncio.timeout(within), asyncio.TaskGroup() as group:
            group.create_task(runner.run(first))
            if scenario is not None:
                group.create_task(scenario(runner))  # type: ignore[arg-type]

    asyncio.run(life())


@pytest.fixture
def runner() -> Runner:
    return Runner(CHAT, WORKER, RUNNER, surroundings(), Spy())


class Model:
    """In place of `generate`: speaks until it is stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = asyncio.Event()
        self.calls = 0
        self.stopped = 0
        monkeypatch.setattr(runner_module, "generate", self)

    async def __call__(self, *_: Any) -> Step:
        self.calls += 1
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        raise AssertionError


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    return Model(monkeypatch)


# --- hints -------------------------------------------------------------------------------------------------------


def test_a_full_channel_keeps_the_older_hints_and_never_blocks(runner: Runner) -> None:
    async def scenario() -> list[int]:
        for version in range(1, CHANNEL_SIZE + 10):
            runner.offer(hint(CHAT, snapshot_version=version))
        return [runner._hints.get_nowait().snapshot_version for _ in range(runner._hints.qsize())]

    assert asyncio.run(scenario()) == list(range(1, CHANNEL_SIZE + 1))


@pytest.mark.parametrize(
    "changed",
    [
        {"history_version": 2, "status": "interrupting"},
        {"snapshot_version": 7, "queue_version": 7},
        {"snapshot_version": 7, "retry_state_version": 7},
    ],
    ids=["a hint of an older version", "a queued message", "a retry"],
)
def test_work_goes_on_after(changed: dict[str, Any], runner: Runner, model: Model) -> None:
    async def scenario(runner: Runner) -> None:
        await model.began.wait()
        runner.offer(hint(CHAT, **{"snapshot_version": 1, **MINE, **changed}))
        runner.offer(hint(CHAT, snapshot_version=8, worker_id=str(uuid4()), runner_id=str(uuid4())))

    lived(runner, step(version=5 if changed.get("status") else 1), scenario)
    assert (model.calls, model.stopped) == (1, 1), "stopped by the other owner of the last hint alone"


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "waiting"}, {"status": "error"}, {"status": "requires_action"}, {"status": "of a newer release"},
        {"archived": True}, {"history_version": 2},
    ],
    ids=str,
)  # fmt: skip
def test_work_ends_and_the_row_is_looked_at_when_a_hint_says(
    changed: dict[str, Any], runner: Runner, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    monkeypatch.setattr(Runner, "_begin", lambda self: looked.append(True) or DONE)

    async def scenario(runner: Runner) -> None:
        await model.began.wait()
        runner.offer(hint(CHAT, snapshot_version=2, **MINE, **changed))

    lived(runner, step(), scenario)
    assert (looked, model.calls, model.stopped) == ([True], 1, 1)


def test_another_owner_ends_the_runner_without_a_look(
    runner: Runner, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "_begin", lambda self: pytest.fail("it is not its chat any more"))

    async def scenario(runner: Runner) -> None:
        await model.began.wait()
        runner.offer(hint(CHAT, snapshot_version=2, worker_id=str(WORKER), runner_id=str(uuid4())))

    lived(runner, step(), scenario)
    assert model.stopped == 1


def test_the_same_notice_twice_is_one_piece_of_work(
    runner: Runner, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted: list[int] = []

    async def interrupt(step: Interrupt, *_: Any) -> Step:
        interrupted.append(step.fence.history_version)
        return DONE

    monkeypatch.setattr(runner_module, "interrupt", interrupt)

    async def scenario(runner: Runner) -> None:
        await model.began.wait()
        for _ in range(2):
            runner.offer(hint(CHAT, snapshot_version=2, status="interrupting", **MINE))

    lived(runner, step(), scenario)
    assert interrupted == [1]


def test_cancelled_work_is_not_waited_for(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    began, may_end = asyncio.Event(), asyncio.Event()

    async def generate(*_: Any) -> Step:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()  # a clean-up that takes its time
            order.append("the old work ended")
        raise AssertionError

    async def interrupt(*_: Any) -> Step:
        order.append("the new work began")
        may_end.set()
        return DONE

    monkeypatch.setattr(runner_module, "generate", generate)
    monkeypatch.setattr(runner_module, "interrupt", interrupt)

    async def scenario(runner: Runner) -> None:
        await began.wait()
        runner.offer(hint(CHAT, snapshot_version=2, status="interrupting", **MINE))

    lived(runner, step(), scenario)
    assert order == ["the new work began", "the old work ended"]


def test_a_hint_that_arrives_while_a_step_ends_is_not_lost(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted: list[Interrupt] = []

    async def generate(begun: Generate, *_: Any) -> Step:
        if begun.fence.history_version == 1:
            stop = hint(CHAT, snapshot_version=6, history_version=5, status="interrupting", **MINE)
            asyncio.get_running_loop().call_soon(runner.offer, stop)
            await asyncio.sleep(0)
            return step(version=5)
        await asyncio.Event().wait()  # a model that speaks until somebody stops it
        raise AssertionError

    async def interrupt(step: Interrupt, *_: Any) -> Step:
        interrupted.append(step)
        return DONE

    monkeypatch.setattr(runner_module, "generate", generate)
    monkeypatch.setattr(runner_module, "interrupt", interrupt)
    lived(runner, step())
    assert [(one.episode.history_version, one.snapshot_version) for one in interrupted] == [(5, 6)]


def test_running_a_runner_twice_logs_one_error_and_asks_for_one_clean_up() -> None:
    spy = Spy()

    async def scenario() -> None:
        runner = Runner(CHAT, WORKER, RUNNER, surroundings(), spy)
        await runner.run(DONE)
        await runner.run(DONE)

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [(log["event"], log["log_level"], log["runner_id"]) for log in logs] == [
        ("runner run called more than once", "error", str(RUNNER))
    ]
    assert spy.asked == [(CHAT, RUNNER)]


# --- work never ends by accident ---------------------------------------------------------------------------------


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return []


@pytest.fixture
def patient(slept: list[float]) -> Runner:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return Runner(CHAT, WORKER, RUNNER, surroundings(sleep=sleep), Spy())


def fails(times: int, error: Exception) -> Callable[..., Any]:
    left = [error] * times

    def begin(_: Runner) -> Step:
        if left:
            raise left.pop()
        return DONE

    return begin


async def breaks(*_: Any) -> Step:
    raise RuntimeError("a bug")


def test_an_unexpected_error_is_tried_again_with_growing_delays_until_it_works(
    patient: Runner, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "generate", breaks)
    monkeypatch.setattr(Runner, "_begin", fails(8, RuntimeError("another")))
    with capture_logs() as logs:
        lived(patient, step())
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert (slept[0], slept[-1]) == (RETRY_FROM, RETRY_UP_TO)
    assert [log["event"] for log in logs] == ["runner.step_failed"] * 9


def test_an_error_after_a_hint_is_tried_again_too(
    patient: Runner, slept: list[float], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "_begin", fails(2, RuntimeError("a bug")))

    async def scenario(runner: Runner) -> None:
        await model.began.wait()
        runner.offer(hint(CHAT, snapshot_version=2, status="waiting", **MINE))

    lived(patient, step(), scenario)
    assert slept == [0.1, 0.2]


@pytest.mark.parametrize("error", [StaleFence(), ChatNotFound()], ids=["a stale fence", "a chat that is gone"])
def test_an_expected_end_is_neither_tried_again_nor_logged(
    error: Exception, patient: Runner, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def generate(*_: Any) -> Step:
        raise error

    monkeypatch.setattr(runner_module, "generate", generate)
    monkeypatch.setattr(Runner, "_begin", fails(1, StaleFence()))
    with capture_logs() as logs:
        lived(patient, step())
    assert (slept, logs) == ([], [])


def test_a_cancellation_is_neither_tried_again_nor_logged(runner: Runner, model: Model) -> None:
    async def scenario() -> None:
        task = asyncio.create_task(runner.run(step()))
        await model.began.wait()
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert (model.calls, logs) == (1, [])


def test_a_cancellation_that_was_swallowed_on_the_way_is_heeded(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def generate(*_: Any) -> Step:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("what a clean-up made of it") from None
        raise AssertionError

    monkeypatch.setattr(runner_module, "generate", generate)
    looked: list[bool] = []
    monkeypatch.setattr(Runner, "_begin", lambda self: looked.append(True) or DONE)

    async def scenario() -> None:
        task = asyncio.create_task(runner.run(step()))
        await began.wait()
        task.cancel()
        _, waiting = await asyncio.wait({task}, timeout=5)
        assert not waiting

    asyncio.run(scenario())
    assert looked == [], "nobody waits for this any more"


@pytest.mark.parametrize(("silence", "lasts"), [(120, STEP_TIMEOUT), (900, 900 + 300)])
def test_a_step_may_take_a_quarter_of_an_hour_or_longer_than_a_model_may_be_silent(
    silence: float, lasts: float, settings: Any
) -> None:
    settings.CHATD_STREAM_SILENCE_TIMEOUT = silence
    assert _lasts(step()) == _lasts(Look(CHAT, 1)) == lasts
    assert _lasts(Wait(CHAT, 1, step().fence, [], 3600.0)) == lasts + 3600, "what a provider asked for is no hang"
