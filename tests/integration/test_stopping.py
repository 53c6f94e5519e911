"""A stop that waits for no worker: real Redis for what was streamed, real Postgres for what is kept of it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import pytest
import redis
import redis.asyncio
from django.conf import settings
from django.db import DataError
from django.db.models.functions import Now
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat import hints, stopping, transitions
from chat.episode_writer import EpisodeWriter
from chat.episodes import EpisodeClosed, EpisodeId, EpisodeStore
from chat.errors import ChatNotFound, InvalidState, StaleFence, TransitionNotAllowed
from chat.execution import State
from chat.models import Chat, ChatMessage, RunnerLease
from chat.stopping import stop_chat
from chat.transitions import NewMessage
from chat.update import ChatUpdate, Fence, chat_update
from chatworker.worker import ChatWorker
from tests.factories import (
    ANSWERED,
    CALLING,
    CLIENT_CALL,
    RUNNER,
    SAID,
    SERVER_CALL,
    WORKER,
    chat_in,
    chat_row,
    history_of,
    nowhere,
    photograph,
    queue_of,
)

pytestmark = pytest.mark.django_db
NEW_WORKER, NEW_RUNNER = UUID(int=11), UUID(int=12)
FRESH_CLAIM = {"worker_id": NEW_WORKER, "runner_id": NEW_RUNNER}
WORDS = [{"type": "text", "index": 0, "text": "one "}, {"type": "text", "index": 0, "text": "two"}]
SAID_IN_A_WORD = ("user", "hello")
FENCE = Fence(WORKER, RUNNER, history_version=3, status="running", generation_attempt=2)
"""What the work of the chats of tests/factories.py relied on."""


def of(chat_id: UUID, attempt: int = 2) -> EpisodeId:
    return EpisodeId(chat_id, history_version=3, generation_attempt=attempt)


def in_redis(work: Callable[[EpisodeStore], Any]) -> Any:
    async def main() -> Any:
        async with redis.asyncio.Redis.from_url(settings.CHATD_REDIS_URL) as client:
            return await work(EpisodeStore(client))

    return asyncio.run(main())


def stream(episode: EpisodeId, parts: list[dict[str, Any]], after: int = 0) -> None:
    in_redis(lambda store: store.append(episode, after, "assistant", parts, create=True))


def streamed(episode: EpisodeId) -> list[dict[str, Any]]:
    return [part for _, _, part in in_redis(lambda store: store.parts(episode))]


def left_by_a_dead_worker(state: State, owner: Any, **more: Any) -> UUID:
    """A chat whose owner's lease has expired."""
    chat_id = chat_in(state, owner, **{"history": (SAID,)} | more)
    RunnerLease.objects.filter(chat_id=chat_id).update(heartbeat_at=Now() - timedelta(hours=1))
    return chat_id


def before_the_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen after the stop has read the chat and its episode, and before it locks the row."""

    def then(client: Any, episode: EpisodeId) -> list[dict[str, Any]]:
        parts = close_and_read(client, episode)
        happens()
        return parts

    close_and_read = stopping.close_and_read
    monkeypatch.setattr(stopping, "close_and_read", then)


Stop = Callable[[UUID], ChatUpdate]


@pytest.fixture
def stop(published: list[Any], django_capture_on_commit_callbacks: Any) -> Callable[[UUID], ChatUpdate]:
    def stop(chat_id: UUID) -> ChatUpdate:
        published.clear()
        with django_capture_on_commit_callbacks(execute=True):
            return stop_chat(chat_id)

    return stop


# --- nobody works on it ----------------------------------------------------------------------------------------------


def test_a_chat_that_nobody_ever_took_stops_at_once(user: Any, stop: Stop, published: list[Any]) -> None:
    chat = transitions.create_chat(owner=user, parts=SAID[1])
    update = stop(chat.pk)
    assert update.state is State.W
    assert (chat_row(chat.pk)["status"], history_of(chat.pk)) == ("waiting", [SAID_IN_A_WORD])
    assert published == [("update", chat.pk, "W")]


def test_exactly_what_a_dead_worker_had_streamed_is_kept(user: Any, stop: Stop, published: list[Any]) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), WORDS)
    update = stop(chat_id)
    row = chat_row(chat_id)
    assert (update.state, row["status"], row["snapshot_version"]) == (State.W, "waiting", 8)
    assert (row["worker_id"], row["runner_id"]) == (None, None)
    assert not RunnerLease.objects.filter(chat_id=chat_id).exists()
    assert history_of(chat_id) == [SAID_IN_A_WORD, ("assistant", "one two")]
    partial = ChatMessage.objects.filter(chat_id=chat_id).latest("id")
    assert (partial.interrupted, partial.model, partial.usage) == (True, "demo:demo", None)
    assert update.did == ["interrupt", "finish_interruption", "abandon"]
    assert published == [("update", chat_id, "W")]


def test_a_chat_that_was_handed_over_and_not_taken_yet_keeps_what_was_streamed(user: Any, stop: Stop) -> None:
    chat_id = chat_in(State.R0, user, history=(SAID,), owned=False)
    stream(of(chat_id), WORDS)
    assert stop(chat_id).state is State.W
    assert history_of(chat_id)[-1] == ("assistant", "one two")


def test_only_the_last_attempt_counts(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id, attempt=1), [{"type": "text", "index": 0, "text": "given up"}])
    stream(of(chat_id), WORDS)
    stop(chat_id)
    assert history_of(chat_id)[-1] == ("assistant", "one two")


def test_the_queue_goes_on_after_what_was_streamed(user: Any, stop: Stop, published: list[Any]) -> None:
    chat_id = left_by_a_dead_worker(State.R1, user)
    stream(of(chat_id), WORDS)
    assert stop(chat_id).state is State.R0
    assert history_of(chat_id) == [SAID_IN_A_WORD, ("assistant", "one two"), ("user", "queued 1")]
    assert (queue_of(chat_id), chat_row(chat_id)["runner_id"]) == ([], None)
    assert published == [("update", chat_id, "R0"), ("wake-up", chat_id)]


def test_the_rest_of_a_longer_queue_goes_on_waiting(user: Any, stop: Stop, published: list[Any]) -> None:
    chat_id = left_by_a_dead_worker(State.R1, user, queued=3)
    assert stop(chat_id).state is State.R1
    assert queue_of(chat_id) == ["queued 2", "queued 3"]
    assert published == [("update", chat_id, "R1"), ("wake-up", chat_id)]


def test_a_call_that_was_streamed_gets_its_result_and_one_in_pieces_was_never_made(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    pieces = {"type": "tool_call_delta", "index": 2, "tool_name": "search", "args_delta": '{"q":'}
    stream(of(chat_id), [*WORDS, SERVER_CALL | {"index": 1}, pieces])
    stop(chat_id)
    [*_, (role, calling), (_, result)] = history_of(chat_id)
    assert (role, calling) == ("assistant", "one two s1()")
    assert result.startswith("s1!=")


def test_calls_that_were_being_executed_get_a_result_that_says_why(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user, history=(SAID, CALLING))
    assert stop(chat_id).state is State.W
    assert history_of(chat_id)[2:] == [("tool", "s1!=interrupted by user"), ("tool", "c1!=interrupted by user")]


def test_an_emptied_redis_costs_what_was_streamed_and_nothing_else(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user, history=(SAID, ("assistant", [SERVER_CALL])))
    stream(of(chat_id), WORDS)
    hints.redis_client().delete(of(chat_id).key)
    assert stop(chat_id).state is State.W
    assert history_of(chat_id)[2:] == [("tool", "s1!=interrupted by user")]


# --- a dead worker comes back ----------------------------------------------------------------------------------------


def test_a_worker_that_was_thought_dead_can_neither_stream_nor_commit(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), WORDS)
    stop(chat_id)
    before = photograph()
    with pytest.raises(EpisodeClosed):
        stream(of(chat_id), [WORDS[0]], after=2)
    with pytest.raises(StaleFence), chat_update(chat_id, fence=FENCE) as update:
        transitions.commit_step(update, [NewMessage(*ANSWERED)])
    assert streamed(of(chat_id)) == WORDS
    assert photograph() == before


def test_a_worker_that_had_not_streamed_anything_yet_cannot_begin_to(user: Any, stop: Stop) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stop(chat_id)

    async def come_back(store: EpisodeStore) -> list[dict[str, Any]]:
        writer = EpisodeWriter(store, of(chat_id))
        async with writer.sending():
            writer.add(WORDS[0])
        return writer.streamed

    assert in_redis(come_back) == []
    assert streamed(of(chat_id)) == []


# --- somebody works on it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "stopped"), [(State.R0, State.I0), (State.R1, State.I1)])
def test_a_living_worker_is_asked_and_may_still_stream(
    user: Any, stop: Stop, published: list[Any], state: State, stopped: State
) -> None:
    chat_id = chat_in(state, user, history=(SAID,))
    stream(of(chat_id), WORDS)
    assert stop(chat_id).state is stopped
    assert history_of(chat_id) == [SAID_IN_A_WORD]
    assert chat_row(chat_id)["runner_id"] == RUNNER
    assert published == [("update", chat_id, str(stopped))]
    stream(of(chat_id), [WORDS[0]], after=2)


def _is_taken(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.acquire(update, **FRESH_CLAIM)


def _is_taken_and_begun(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.acquire(update, **FRESH_CLAIM)
        transitions.record_generation_attempt(update)


def _is_renewed(chat_id: UUID) -> None:
    RunnerLease.objects.filter(chat_id=chat_id).update(heartbeat_at=Now())


@pytest.mark.parametrize("happens", [_is_taken, _is_taken_and_begun, _is_renewed])
def test_a_worker_that_comes_between_the_reading_and_the_lock_finishes_itself(
    user: Any, stop: Stop, published: list[Any], monkeypatch: pytest.MonkeyPatch, happens: Callable[[UUID], None]
) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), WORDS)
    before_the_lock(monkeypatch, lambda: happens(chat_id))
    assert stop(chat_id).state is State.I0
    assert history_of(chat_id) == [SAID_IN_A_WORD]
    assert published[-1] == ("update", chat_id, "I0")
    assert ("wake-up", chat_id) not in published, "its owner's lease is fresh"
    assert streamed(of(chat_id)) == WORDS


def test_what_was_read_of_an_earlier_history_is_not_committed(
    user: Any, stop: Stop, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), WORDS)

    def commits_at_the_last_moment() -> None:
        with chat_update(chat_id, fence=FENCE) as update:
            transitions.commit_step(update, [NewMessage(*ANSWERED)])

    before_the_lock(monkeypatch, commits_at_the_last_moment)
    assert stop(chat_id).state is State.I0
    assert history_of(chat_id) == [SAID_IN_A_WORD, ("assistant", "good day")]
    assert published[-1] == ("wake-up", chat_id)


def test_a_chat_that_ends_its_turn_before_the_lock_is_not_stopped(
    user: Any, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)

    def finishes() -> None:
        with chat_update(chat_id, fence=FENCE) as update:
            transitions.finish_turn(update)

    before_the_lock(monkeypatch, finishes)
    with pytest.raises(TransitionNotAllowed):
        stop(chat_id)
    assert history_of(chat_id) == [SAID_IN_A_WORD]


# --- what fails ------------------------------------------------------------------------------------------------------


def redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    away = redis.Redis(port=9, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(hints, "redis_client", cache(lambda: away))


def test_without_redis_the_stop_is_requested_and_a_worker_is_asked(
    user: Any, stop: Stop, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = left_by_a_dead_worker(State.R1, user)
    redis_is_away(monkeypatch)
    assert stop(chat_id).state is State.I1
    assert history_of(chat_id) == [SAID_IN_A_WORD]
    assert published == [("update", chat_id, "I1"), ("wake-up", chat_id)]


def test_without_redis_a_chat_of_which_nothing_was_streamed_stops_all_the_same(
    user: Any, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = transitions.create_chat(owner=user, parts=SAID[1])
    redis_is_away(monkeypatch)
    assert stop(chat.pk).state is State.W


@pytest.mark.django_db(transaction=True)
def test_a_later_worker_finishes_the_stop_that_redis_delayed(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), WORDS)
    with monkeypatch.context() as outage:
        redis_is_away(outage)
        outage.setattr(hints, "publish_wake_up", lambda chat_id: None)
        assert stop_chat(chat_id).state is State.I0
    worker = ChatWorker(slots=1)
    worker.start()
    try:
        with ThreadPoolExecutor(1) as slot:
            slot.submit(worker.run_chat, chat_id).result(timeout=10)
    finally:
        worker.stop(drain_timeout=0)
    assert chat_row(chat_id)["status"] == "waiting"
    assert history_of(chat_id)[-1] == ("assistant", "one two")


@pytest.mark.django_db(transaction=True)
def test_what_a_worker_that_was_thought_dead_streams_while_another_one_stops_its_chat_is_refused(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = left_by_a_dead_worker(State.I0, user)
    stream(of(chat_id), WORDS)
    read, refused = EpisodeStore.parts, []

    async def read_and_then_it_is_back(store: EpisodeStore, episode: EpisodeId) -> Any:
        parts = await read(store, episode)
        try:
            await store.append(episode, len(parts), "assistant", [WORDS[0]])
        except EpisodeClosed:
            refused.append(episode)
        return parts

    monkeypatch.setattr(EpisodeStore, "parts", read_and_then_it_is_back)
    worker = ChatWorker(slots=1)
    worker.start()
    try:
        with ThreadPoolExecutor(1) as slot:
            slot.submit(worker.run_chat, chat_id).result(timeout=10)
    finally:
        worker.stop(drain_timeout=0)
    assert refused == [of(chat_id)]
    assert history_of(chat_id)[-1] == ("assistant", "one two")
    assert chat_row(chat_id)["status"] == "waiting"


@pytest.mark.django_db(transaction=True)
def test_what_postgres_refuses_leaves_the_chat_running(user: Any, published: list[Any]) -> None:
    chat_id = left_by_a_dead_worker(State.R0, user)
    stream(of(chat_id), [{"type": "text", "index": 0, "text": "no jsonb takes this: \x00"}])
    before = photograph()
    with pytest.raises(DataError):
        stop_chat(chat_id)
    assert photograph() == before
    assert published == []


# --- where there is nothing to stop ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [True, False])
def test_a_second_stop_is_refused(user: Any, stop: Stop, published: list[Any], dead: bool) -> None:
    chat_id = (left_by_a_dead_worker if dead else chat_in)(State.R0, user, history=(SAID,))
    stop(chat_id)
    before = photograph()
    with pytest.raises(TransitionNotAllowed):
        stop(chat_id)
    assert photograph() == before
    assert published == []


@pytest.mark.parametrize("state", [State.W, State.E0, State.E1, State.I0, State.I1, State.XW, State.XE0, State.XE1])
def test_what_does_not_run_is_not_stopped(user: Any, stop: Stop, state: State) -> None:
    chat_id = left_by_a_dead_worker(state, user)
    stream(of(chat_id), WORDS)
    before = photograph()
    with pytest.raises(TransitionNotAllowed):
        stop(chat_id)
    assert photograph() == before
    stream(of(chat_id), [WORDS[0]], after=2)  # nor was its episode closed


def test_neither_is_what_is_invalid_or_not_there(user: Any, stop: Stop) -> None:
    with pytest.raises(InvalidState):
        stop(chat_in(State.INVALID, user))
    with pytest.raises(ChatNotFound):
        stop(nowhere())


@pytest.mark.parametrize(("state", "stopped"), [(State.A0, State.R0), (State.A1, State.R1)])
def test_who_waits_for_a_client_waits_no_longer_and_goes_on(
    user: Any, stop: Stop, published: list[Any], state: State, stopped: State
) -> None:
    chat_id = chat_in(state, user, history=(SAID, ("assistant", [CLIENT_CALL])), owned=False)
    assert stop(chat_id).state is stopped
    assert history_of(chat_id)[2:] == [("tool", "c1!=interrupted by user")]
    assert Chat.objects.get(pk=chat_id).requires_action_deadline_at is None
    assert published == [("update", chat_id, str(stopped)), ("wake-up", chat_id)]
