"""A worker that finishes an interrupted chat, also one that it never streamed: what people saw is what is saved."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from django.conf import settings
from redis.exceptions import ConnectionError
from structlog.testing import capture_logs

from chat import transitions
from chat.database import DatabaseThreads
from chat.episodes import EpisodeId, EpisodeStore
from chat.errors import StaleFence
from chat.models import Chat
from chat.transitions import NewMessage
from chat.update import Fence, chat_read, chat_update
from chatworker.models.registry import ModelRegistry
from chatworker.resources import Resources
from chatworker.work import interrupt as interrupting
from chatworker.work.interrupt import interrupt
from chatworker.work.step import Done, Interrupt, Step

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = [{"type": "text", "index": 0, "text": "partial"}, {"type": "text", "index": 0, "text": " answer"}]
CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "weather", "args": {}}
BY_USER = [{"type": "text", "text": "hello"}]


class Store(EpisodeStore):
    """Redis that is away for the first `away` questions."""

    def __init__(self, client: Any, away: int) -> None:
        super().__init__(client)
        self._away = away

    async def close(self, episode: EpisodeId) -> None:
        if self._away:
            self._away -= 1
            raise ConnectionError("Redis is away")
        await super().close(episode)


@pytest.fixture
def step(user: Any, published: list[Any]) -> Interrupt:
    """What a worker has to do that took a chat, stopped in its first attempt, from a dead one."""
    chat_id = transitions.create_chat(owner=user, parts=BY_USER).pk
    worker_id, runner_id = uuid4(), uuid4()
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
        transitions.record_generation_attempt(update)
        transitions.interrupt(update)
    chat = update.chat
    fence = Fence(worker_id, runner_id, chat.history_version, str(chat.status))
    return Interrupt(chat_id, chat.snapshot_version, fence, [], EpisodeId(chat_id, chat.history_version, 1))


def done(step: Interrupt, *streamed: dict[str, Any], away: int = 0) -> Step:
    """The stop, after these deltas were streamed by somebody."""

    async def no_time_passes(seconds: float) -> None:
        await asyncio.sleep(0)

    async def main() -> Step:
        database, models = DatabaseThreads(1, name="test-db"), ModelRegistry()
        try:
            async with redis.asyncio.Redis.from_url(settings.CHATD_REDIS_URL) as client:
                if streamed:
                    await EpisodeStore(client).append(step.episode, 0, "assistant", list(streamed), create=True)
                resources = Resources(database, Store(client, away), models, sleep=no_time_passes)
                return await interrupt(step, resources, None)
        finally:
            await models.aclose()
            await asyncio.to_thread(database.close)

    return asyncio.run(main())


def history(chat_id: UUID) -> list[tuple[str, Any]]:
    rows = sorted(chat_read(chat_id).messages, key=lambda row: row["id"])
    return [(row["role"], [part.get("text") or part.get("output") or part["tool_name"] for part in row["parts"]])
            for row in rows]  # fmt: skip


def test_what_was_streamed_is_saved_as_one_message(step: Interrupt) -> None:
    assert isinstance(done(step, *WORDS), Done)
    assert chat_read(step.chat_id).state == "W"
    assert history(step.chat_id) == [("user", ["hello"]), ("assistant", ["partial answer"])]


def test_a_queued_message_follows_what_was_saved(step: Interrupt, user: Any) -> None:
    with chat_update(step.chat_id) as update:
        transitions.send_message(update, parts=[{"type": "text", "text": "next"}], author=user)
    done(step, *WORDS)
    assert history(step.chat_id)[1:] == [("assistant", ["partial answer"]), ("user", ["next"])]
    assert chat_read(step.chat_id).chat.status == "running"


def test_without_an_episode_the_history_stays_as_it_is(step: Interrupt) -> None:
    done(step)
    assert (chat_read(step.chat_id).state, history(step.chat_id)) == ("W", [("user", ["hello"])])


def test_a_call_that_was_streamed_stays_and_gets_a_result_that_says_why(step: Interrupt) -> None:
    done(step, {**CALL, "index": 0})
    assert history(step.chat_id)[1:] == [
        ("assistant", ["weather"]), ("tool", ["interrupted before it produced a result"]),
    ]  # fmt: skip


def test_parts_that_nobody_can_read_are_left_out_with_a_warning(step: Interrupt) -> None:
    with capture_logs() as logs:
        done(step, WORDS[0], {"type": "text", "text": "of no part"}, WORDS[1])
    assert history(step.chat_id)[1:] == [("assistant", ["partial answer"])]
    assert [(log["event"], log["parts"]) for log in logs if log["log_level"] == "warning"] == [
        ("interrupt.parts_malformed", 1)
    ]


def test_two_calls_with_one_id_do_not_keep_a_chat_from_stopping(step: Interrupt) -> None:
    done(step, {**CALL, "index": 0}, {**CALL, "index": 1})
    assert [role for role, _ in history(step.chat_id)] == ["user", "assistant", "tool"]
    assert chat_read(step.chat_id).state == "W"


def test_a_redis_that_is_away_for_a_moment_is_waited_for(step: Interrupt) -> None:
    with capture_logs() as logs:
        done(step, *WORDS, away=5)
    assert history(step.chat_id)[1:] == [("assistant", ["partial answer"])]
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["interrupt.without_redis"], "once"


def test_a_redis_that_stays_away_does_not_hold_a_stop_up_for_ever(step: Interrupt) -> None:
    tries = 1 + int(interrupting.PATIENCE / interrupting.ASK_AGAIN_AFTER)
    done(step, *WORDS, away=tries)
    assert (chat_read(step.chat_id).state, history(step.chat_id)) == ("W", [("user", ["hello"])])


@pytest.mark.parametrize("changed", ["another owner", "another history", "another status"])
def test_a_stale_fence_changes_nothing(changed: str, step: Interrupt, user: Any, published: list[Any]) -> None:
    with chat_update(step.chat_id) as update:
        if changed == "another owner":
            transitions.acquire(update, worker_id=uuid4(), runner_id=uuid4())
        elif changed == "another history":
            transitions.finish_interruption(update, [NewMessage("assistant", [{"type": "text", "text": "said"}])])
            transitions.send_message(update, parts=BY_USER, author=user)
            transitions.interrupt(update)
        else:
            transitions.finish_interruption(update, [])
    before, said = Chat.objects.values().get(pk=step.chat_id), history(step.chat_id)
    published.clear()
    with pytest.raises(StaleFence):
        done(step, *WORDS)
    assert (Chat.objects.values().get(pk=step.chat_id), history(step.chat_id)) == (before, said)
    assert published == []
