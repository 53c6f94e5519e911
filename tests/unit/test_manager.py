"""The runners of one process: begun, told, let go. Database and Redis are stand-ins."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from chat.channels import hint_channel
from chatworker import manager as manager_module
from chatworker import runner as runner_module
from chatworker.manager import RunnerManager
from chatworker.work.step import Done, Step
from tests.runners import Channels, Database, generation, hint, surroundings

ONE, TWO = uuid4(), uuid4()


class World:
    """A manager whose chats speak until they are stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.channels = Database(), Channels()
        self.now = 100.0
        self.manager = RunnerManager(
            uuid4(), surroundings(self.database), self.channels, lease_ttl=20, slots=8, clock=lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip
        self.given_back: list[UUID] = []
        self.working = asyncio.Condition()
        self.at_work: list[UUID] = []
        monkeypatch.setattr(manager_module, "acquire", generation)
        monkeypatch.setattr(manager_module, "_hand_over", self.hand_over)
        monkeypatch.setattr(runner_module, "generate", self.generate)

    def hand_over(self, chat_id: UUID, worker_id: UUID, runner_id: UUID) -> None:
        self.given_back.append(chat_id)

    async def generate(self, step: Any, *_: Any) -> Step:
        async with self.working:
            self.at_work.append(step.chat_id)
            self.working.notify_all()
        await asyncio.Event().wait()
        raise AssertionError

    async def take(self, *chats: UUID) -> "list[asyncio.Task[bool]]":
        """Visits to these chats; returns when all of them are at work."""
        expected = len(self.at_work) + len(chats)
        visits = [asyncio.create_task(self.manager.run_chat(chat_id)) for chat_id in chats]
        async with self.working:
            await self.working.wait_for(lambda: len(self.at_work) == expected)
        return visits


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[World], Awaitable[None]]], World]:
    def play(scenario: Callable[[World], Awaitable[None]]) -> World:
        async def main() -> World:
            async with asyncio.timeout(5):
                world = World(monkeypatch)
                await scenario(world)
                await world.manager.close(drain_timeout=0)
            assert world.channels.callbacks == {}, "nobody listens any more"
            assert len(asyncio.all_tasks()) == 1
            return world

        return asyncio.run(main())

    return play


# --- one runner more or less -------------------------------------------------------------------------------------


def test_a_clean_up_is_not_waited_for_and_may_be_asked_for_twice(played: Any) -> None:
    async def scenario(world: World) -> None:
        (visit,) = await world.take(ONE)
        (key,) = world.manager.running
        for _ in range(2):
            world.manager.request_cleanup(*key)
        assert world.manager.running == [key], "it ends in its own time"
        await visit
        assert world.manager.running == []
        world.manager.request_cleanup(*key)

    assert played(scenario).given_back == [ONE]


def test_a_clean_up_of_an_unknown_runner_is_ignored(played: Any) -> None:
    async def scenario(world: World) -> None:
        await world.take(ONE)
        world.manager.request_cleanup(ONE, uuid4())
        world.manager.request_cleanup(TWO, uuid4())
        await asyncio.sleep(0)
        assert len(world.manager.running) == 1

    played(scenario)


def test_two_runners_of_one_chat_both_hear_and_the_old_one_leaves(played: Any) -> None:
    async def scenario(world: World) -> None:
        visits = await world.take(ONE) + await world.take(ONE)
        _, (_, new) = world.manager.running
        owner = {"worker_id": str(world.manager.worker_id), "runner_id": str(new)}
        world.channels.say(hint_channel(ONE), hint(ONE, snapshot_version=2, **owner))
        await visits[0]
        assert world.manager.running == [(ONE, new)]
        assert not visits[1].done()

    world = played(scenario)
    assert world.given_back == [ONE], "the new one, at the end; the chat was not the old one's to give"


def test_a_chat_that_cannot_be_taken_because_the_database_went_away_is_given_back(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT may have happened: then the chat would wait for the end of a lease that nobody renews."""

    def acquire(*_: Any) -> Step:
        raise OperationalError("server closed the connection unexpectedly")

    async def scenario(world: World) -> None:
        monkeypatch.setattr(manager_module, "acquire", acquire)
        assert await asyncio.create_task(world.manager.run_chat(ONE))

    with capture_logs() as logs:
        assert played(scenario).given_back == [ONE]
    assert [(log["event"], log["log_level"]) for log in logs] == [("chat.not_taken", "warning")]


def test_a_chat_is_looked_at_once_at_a_time_and_once_more_for_those_who_woke_us_meanwhile(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    next_woken: list[UUID] = []

    async def scenario(world: World) -> None:
        looking, seen = asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def held(function: Any, *args: Any) -> Any:
            nonlocal looks
            if function is not generation:
                return function(*args)
            looks += 1
            looking.release()
            await seen.acquire()
            return function(*args) if looks == 2 else None

        monkeypatch.setattr(world.database, "run", held)
        monkeypatch.setattr(manager_module.capacity, "is_limited", lambda: True)
        monkeypatch.setattr(manager_module, "wake_next_in_line", lambda: next_woken.append(ONE))
        visit = asyncio.create_task(world.manager.run_chat(ONE))
        await looking.acquire()
        for _ in range(5):
            assert await asyncio.create_task(world.manager.run_chat(ONE)), "its pool slot is free again at once"
        assert looks == 1
        assert next_woken == [], "it would be this chat, again and again"
        seen.release()  # what was seen may be older than the last wake-up
        await looking.acquire()
        seen.release()
        async with world.working:
            await world.working.wait_for(lambda: world.at_work == [ONE])
        assert looks == 2
        world.manager.request_cleanup(*world.manager.running[0])
        await visit
        assert next_woken == [ONE], "a place is free"

    played(scenario)


@pytest.mark.parametrize("found", [None, Done(ONE, 1)], ids=["somebody else has it", "there was nothing to do"])
def test_a_chat_that_is_not_ours_is_not_given_back(
    found: Step | None, played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        monkeypatch.setattr(manager_module, "acquire", lambda *_: found)
        assert await asyncio.create_task(world.manager.run_chat(ONE))

    assert played(scenario).given_back == []


# --- leases ------------------------------------------------------------------------------------------------------


def test_a_runner_is_stopped_by_its_own_clock_before_its_lease_can_have_expired(played: Any) -> None:
    async def scenario(world: World) -> None:
        (visit,) = await world.take(ONE)
        world.now = 117.9
        world.manager.stop_expired(margin=2)
        await asyncio.sleep(0)
        assert not visit.done()
        world.now = 118.0
        with capture_logs() as logs:
            for _ in range(2):
                world.manager.stop_expired(margin=2)
        assert [log["event"] for log in logs] == ["lease.not_renewed_in_time"]
        await visit

    assert played(scenario).given_back == [ONE], "its lease may be good for two seconds more"


def test_what_was_renewed_while_the_loop_was_blocked_counts_before_anything_is_given_up(played: Any) -> None:
    """The heartbeat has a thread of its own; its news must not wait for the loop's turn."""

    async def scenario(world: World) -> None:
        await world.take(ONE)
        world.now = 160.0
        world.manager.leases.renewed(world.manager.running, at=159.0)
        world.manager.stop_expired(margin=2)
        await asyncio.sleep(0)
        assert len(world.manager.running) == 1

    played(scenario)


def test_who_lost_the_lease_stops_and_the_others_go_on(played: Any) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.take(ONE, TWO)
        lost = [key for key in world.manager.running if key[0] == ONE] + [(uuid4(), uuid4())]
        with capture_logs() as logs:
            for _ in range(2):  # a second heartbeat may say the same before it has ended
                world.manager.lost(lost)
        assert [log["event"] for log in logs] == ["lease.lost"]
        await first
        assert [chat_id for chat_id, _ in world.manager.running] == [TWO]
        assert not second.done()

    played(scenario)


def test_a_lease_that_was_given_up_is_not_renewed_again(played: Any) -> None:
    async def scenario(world: World) -> None:
        (visit,) = await world.take(ONE)
        held = world.manager.running
        world.manager.request_cleanup(*held[0])
        await visit
        world.manager.leases.renewed(held, at=110.0)
        assert world.manager.leases.not_renewed_since(1e9) == []

    played(scenario)


# --- sync --------------------------------------------------------------------------------------------------------


def test_without_runners_a_sync_asks_nobody(played: Any) -> None:
    async def scenario(world: World) -> None:
        await world.manager.sync()
        assert world.database.runs == 0

    played(scenario)


def test_a_sync_is_one_query_and_ends_the_runners_of_chats_that_are_gone(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        first, second = await world.take(ONE, TWO)
        owner = {"worker_id": str(world.manager.worker_id), "runner_id": str(world.manager.running[1][1])}
        asked: list[set[UUID]] = []
        monkeypatch.setattr(
            manager_module,
            "_read_rows",
            lambda ids: asked.append(ids) or {TWO: hint(TWO, **owner)},  # type: ignore[func-returns-value]
        )
        await world.manager.sync()
        await first
        assert asked == [{ONE, TWO}]
        assert not second.done()

    played(scenario)


# --- the end -----------------------------------------------------------------------------------------------------


def test_a_closed_manager_takes_nothing(played: Any) -> None:
    async def scenario(world: World) -> None:
        await world.manager.close(drain_timeout=0)
        assert await world.manager.run_chat(ONE) is False

    assert played(scenario).at_work == []


def test_one_chat_that_cannot_be_given_back_does_not_hold_up_the_others(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        def hand_over(chat_id: UUID, *_: Any) -> None:
            if chat_id == ONE:
                raise RuntimeError("whatever it is")
            world.given_back.append(chat_id)

        monkeypatch.setattr(manager_module, "_hand_over", hand_over)
        await world.take(ONE, TWO)

    with capture_logs() as logs:
        assert played(scenario).given_back == [TWO]
    failed = [log for log in logs if log["event"] == "worker.hand_over_failed"]
    assert [(log["chat_id"], log["log_level"]) for log in failed] == [(str(ONE), "warning")]


def test_a_connection_that_died_while_nobody_used_it_does_not_spoil_the_hand_over(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        broken = [True]

        def hand_over(chat_id: UUID, *_: Any) -> None:
            if broken:
                broken.clear()
                raise OperationalError("terminating connection due to administrator command")
            world.given_back.append(chat_id)

        monkeypatch.setattr(manager_module, "_hand_over", hand_over)
        await world.take(ONE)

    assert played(scenario).given_back == [ONE]


def test_a_runner_that_hangs_at_its_end_does_not_hang_the_shutdown(
    played: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chat is given back before that, and what it would still commit is refused."""
    may_end = asyncio.Event()
    monkeypatch.setattr(manager_module, "SHUTDOWN_DATABASE_TIMEOUT", 0.05)

    async def scenario(world: World) -> None:
        async def generate(step: Any, *_: Any) -> Step:
            async with world.working:
                world.at_work.append(step.chat_id)
                world.working.notify_all()
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()
            raise AssertionError

        monkeypatch.setattr(runner_module, "generate", generate)
        (visit,) = await world.take(ONE)
        with capture_logs() as logs:
            await world.manager.close(drain_timeout=0)
        assert world.given_back == [ONE]
        assert [log["event"] for log in logs] == ["worker.handing_over", "worker.closed_early"]
        may_end.set()
        await visit

    assert played(scenario).given_back == [ONE], "once"
