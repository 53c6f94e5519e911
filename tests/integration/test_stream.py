"""The SSE endpoint against real Postgres and Redis: who is connected, comes late, comes back or loses messages ends
with the same chat, in order, nothing twice.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from django.conf import settings
from django.db import connection
from django.test import Client as Browser

from chat import hints, transitions
from chat.channels import hint_channel, part_channel
from chat.database import DatabaseThreads
from chat.episode_writer import EpisodeWriter
from chat.episodes import EpisodeId, EpisodeStore
from chat.models import ApiToken, Chat
from chat.stream.app import StreamApplication
from chat.stream.client import OUTBOX_BYTES, SLOW_AFTER, Client
from chat.stream.hub import DATABASE_THREADS, Hub
from chat.timeline import IDLE_STATES, NOTHING
from chat.transitions import NewMessage
from chat.update import chat_update
from chatworker.testing import wait_until
from tests.asgi import WITHIN, Reader, Server, ServerSentEvent, served
from tests.factories import LIVE_STATES, chat_in

pytestmark = pytest.mark.django_db(transaction=True)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def delta(words: str) -> dict[str, Any]:
    return {"type": "text", "index": 0, "text": words}


@pytest.fixture
def chat(user: Any) -> UUID:
    return transitions.create_chat(owner=user, parts=[text("hello")]).pk


@pytest.fixture
def token(user: Any) -> str:
    return ApiToken.issue(user)[1]


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no worker; the tests do its work."""
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: None)


class World:
    """A web process, a worker's hands, and a chat."""

    def __init__(self, server: Server, client: redis.asyncio.Redis, database: DatabaseThreads, token: str) -> None:
        self.server = server
        self.redis = client
        self.store = EpisodeStore(client)
        self.token = token
        self._database = database

    def stream(self, chat_id: UUID | str, query: str = "", **headers: str) -> Reader:
        return self.server.get(
            f"/api/v1/chats/{chat_id}/stream", query, authorization=f"Bearer {self.token}", **headers
        )

    async def up_to_date(self, chat_id: UUID, query: str = "", **headers: str) -> Reader:
        """A reader that has received its first synchronisation."""
        reader = self.stream(chat_id, query, **headers)
        await reader.until("ready")
        return reader

    async def update(self, chat_id: UUID, *changes: Callable[..., Any]) -> Chat:
        """One transaction of these transitions."""

        def transaction() -> Chat:
            with chat_update(chat_id) as update:
                for change in changes:
                    change(update)
            return update.chat

        return await self._database.run(transaction)

    async def in_database(self, function: Callable[[], Any]) -> Any:
        return await self._database.run(function)

    async def begin(self, chat_id: UUID) -> EpisodeWriter:
        """A worker takes the chat and begins an attempt; the writer of its parts."""
        acquire = partial(transitions.acquire, worker_id=uuid4(), runner_id=uuid4())
        chat = await self.update(chat_id, acquire, transitions.record_generation_attempt)
        return EpisodeWriter(self.store, EpisodeId(chat_id, chat.history_version, chat.generation_attempt))

    async def say(self, writer: EpisodeWriter, *words: str) -> None:
        for word in words:
            writer.add(delta(word))
            await writer.flush()

    async def commit(self, chat_id: UUID, words: str) -> None:
        messages = [NewMessage("assistant", [text(words)])]
        commit = partial(transitions.commit_step, messages=messages)
        await self.update(chat_id, commit, transitions.finish_turn, transitions.abandon)

    async def nobody_watches(self) -> None:
        """Returns when every feed of the process has ended."""
        feeds = {task for task in asyncio.all_tasks() if task.get_name().startswith("stream-feed")}
        if feeds:
            _, waiting = await asyncio.wait(feeds, timeout=WITHIN)
            assert not waiting


def live(token: str, test: Callable[[World], Awaitable[None]], *, poll_every: float = 60.0, **options: Any) -> None:
    """Run `test` in a world; afterwards no task of it is left."""

    @asynccontextmanager
    async def database_threads() -> AsyncIterator[DatabaseThreads]:
        database = DatabaseThreads(1, name="test-db")
        try:
            yield database
        finally:
            await asyncio.to_thread(database.close)

    async def otherwise(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not a stream")

    async def main() -> None:
        application = StreamApplication(otherwise, make_hub=partial(Hub, poll_every=poll_every), **options)
        async with (
            asyncio.timeout(30),
            redis.asyncio.Redis.from_url(settings.CHATD_REDIS_URL) as client,
            database_threads() as database,
        ):
            async with served(application) as server:
                await test(World(server, client, database, token))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"

    asyncio.run(main())


def names(events: list[ServerSentEvent]) -> list[str]:
    return [event.name for event in events]


def words_of(events: list[ServerSentEvent]) -> list[tuple[int, str]]:
    return [(event.data["seq"], event.data["part"]["text"]) for event in events if event.name == "message_part"]


# --- connecting ------------------------------------------------------------------------------------------------------


def test_a_first_connection_gets_the_chat_then_ready(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = world.stream(chat)
        message, status, ready = await reader.until("ready")
        assert (message.name, message.data["message"]["parts"]) == ("message", [text("hello")])
        assert (status.name, status.data["state"]) == ("status", "R0")
        assert ready.data == {"chat_id": str(chat)}
        assert reader.headers["content-type"].startswith("text/event-stream")
        assert reader.headers["cache-control"] == "no-cache, no-transform"
        assert reader.headers["x-accel-buffering"] == "no"

    live(token, test)


def test_every_state_of_a_chat_is_told_and_only_the_idle_ones_end_a_stream_until_idle(user: Any, token: str) -> None:
    chats = {state: chat_in(state, user) for state in LIVE_STATES}

    async def test(world: World) -> None:
        for state, chat_id in chats.items():
            reader = world.stream(chat_id, "until=idle")
            events = await reader.until("ready")
            (status,) = [event for event in events if event.name == "status"]
            assert status.data["state"] == str(state)
            if str(state) in IDLE_STATES:
                assert await reader.rest() == []
            else:
                await reader.leave()

    live(token, test)


def test_a_session_cookie_opens_the_stream_as_well(chat: UUID, user: Any, token: str) -> None:
    browser = Browser()
    browser.force_login(user)
    cookie = f"other=1; {settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"

    async def test(world: World) -> None:
        reader = world.server.get(f"/api/v1/chats/{chat}/stream", cookie=cookie)
        assert names(await reader.until("ready"))[-1] == "ready"

    live(token, test)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer \xff\xfe"},
        {"authorization": "Basic YTpi"},
        {"cookie": "sessionid=unknownunknownunknown"},
        {"cookie": r'sessionid="\000\000\000\000\000\000\000\000\000"'},
        {"cookie": "sessionid=;;;=\xff"},
    ],
    ids=str,
)
def test_who_is_not_known_is_told_so_as_a_problem(chat: UUID, token: str, headers: dict[str, str]) -> None:
    async def test(world: World) -> None:
        reader = await world.server.answered(f"/api/v1/chats/{chat}/stream", **headers)
        await reader.rest()
        assert (reader.status, reader.headers["Content-Type"]) == (401, "application/problem+json")
        assert json.loads(reader.body)["code"] == "unauthenticated"

    live(token, test)


def test_another_users_chat_and_what_is_no_chat_are_not_found(other_user: Any, token: str) -> None:
    foreign = transitions.create_chat(owner=other_user, parts=[text("mine")]).pk

    async def test(world: World) -> None:
        for chat_id in (foreign, uuid4(), "none", "\x00", "%"):
            reader = world.stream(chat_id)
            await reader.rest()
            assert (reader.status, reader.headers["Content-Type"]) == (404, "application/problem+json")
            problem = json.loads(reader.body)
            assert (problem["code"], problem["status"]) == ("not_found", 404)

    live(token, test)


# --- following -------------------------------------------------------------------------------------------------------


def test_parts_come_live_and_the_saved_answer_replaces_them(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "Good", " day")
        first, second = await reader.event(), await reader.event()
        assert words_of([first, second]) == [(1, "Good"), (2, " day")]
        assert first.data["generation_attempt"] == 1
        assert first.data["history_version"] == writer.episode.history_version
        await world.commit(chat, "Good day")
        message, status, _ = await reader.until("preview_reset")
        assert message.data["message"]["parts"] == [text("Good day")]
        assert (status.name, status.data["state"]) == ("status", "W")

    live(token, test)


@pytest.mark.parametrize("hint", ["is lost", "comes after the parts"])
def test_parts_of_an_attempt_that_no_hint_announced_come_live(
    chat: UUID, token: str, monkeypatch: pytest.MonkeyPatch, hint: str
) -> None:
    """Hints and parts reach Redis by connections of different processes, and nothing orders the two."""
    late: list[Callable[[], None]] = []
    publish = hints.publish_update

    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        monkeypatch.setattr(hints, "publish_update", lambda chat, state: late.append(partial(publish, chat, state)))
        writer = await world.begin(chat)
        await world.say(writer, "Good", " day")
        first, second = await reader.event(), await reader.event()
        assert words_of([first, second]) == [(1, "Good"), (2, " day")]
        if hint == "comes after the parts":
            for publish_late in late:
                await world.in_database(publish_late)
        await world.say(writer, " to you")
        assert words_of([await reader.event()]) == [(3, " to you")]

    live(token, test)


def test_all_readers_of_a_chat_get_the_same_bytes(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        readers = [await world.up_to_date(chat) for _ in range(3)]
        writer = await world.begin(chat)
        await world.say(writer, "Good", " day")
        await world.commit(chat, "Good day")
        for reader in readers:
            await reader.until("preview_reset")
        assert len({reader.body for reader in readers}) == 1

    live(token, test)


@pytest.mark.parametrize("how", ["header", "query"])
def test_who_comes_back_with_a_cursor_gets_exactly_the_rest(chat: UUID, token: str, how: str) -> None:
    async def test(world: World) -> None:
        writer = await world.begin(chat)
        reader = await world.up_to_date(chat)
        await world.say(writer, "one", " two", " three")
        seen = [await reader.event(), await reader.event()]
        await reader.leave()
        await world.say(writer, " four")
        cursor = seen[-1].cursor
        again = world.stream(chat, last_event_id=cursor) if how == "header" else world.stream(chat, f"cursor={cursor}")
        assert names([await again.event()]) == ["ready"]
        assert words_of([await again.event(), await again.event()]) == [(3, " three"), (4, " four")]
        await world.say(writer, " five")
        assert words_of([await again.event()]) == [(5, " five")]

    live(token, test)


def test_a_reader_that_is_cut_off_after_every_single_event_sees_the_same_as_one_that_stays(
    chat: UUID, token: str
) -> None:
    async def test(world: World) -> None:
        staying = world.stream(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one", " two", " three")
        await world.commit(chat, "one two three")
        stayed = await staying.until("preview_reset")
        events: list[ServerSentEvent] = []
        for _ in range(30):
            reader = world.stream(chat, **({"last_event_id": events[-1].cursor} if events else {}))
            event = await reader.event()
            await reader.leave()
            if event.name == "ready":
                break
            events.append(event)
        assert names(events) == ["message", "message", "status"]
        assert [event.data for event in events] == [
            event.data for event in stayed if event.name == "message" or event.data.get("state") == "W"
        ]

    live(token, test)


@pytest.mark.parametrize("cursor", ["garbage", "W10", "%F0%9F", "eyJhIjoxfQ"])
def test_a_cursor_that_means_nothing_gives_a_full_snapshot_that_begins_with_history_reset(
    chat: UUID, token: str, cursor: str
) -> None:
    async def test(world: World) -> None:
        events = await world.stream(chat, f"cursor={cursor}").until("ready")
        assert names(events)[:2] == ["history_reset", "message"]
        assert "status" in names(events)

    live(token, test)


def test_a_cursor_of_a_chat_with_a_longer_past_is_not_believed(chat: UUID, user: Any, token: str) -> None:
    other = transitions.create_chat(owner=user, parts=[text("other")]).pk

    async def test(world: World) -> None:
        writer = await world.begin(other)
        await world.say(writer, "x")
        await world.commit(other, "x")
        (*_, ready) = await world.stream(other).until("ready")
        assert names([await world.stream(chat, last_event_id=ready.cursor).event()]) == ["history_reset"]

    live(token, test)


# --- what goes wrong on the way --------------------------------------------------------------------------------------


def lose_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "publish_update", lambda chat, state: None)


def lose_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are stored, but published where nobody listens."""
    monkeypatch.setattr("chat.episodes.part_channel", lambda chat_id: f"chatd:nowhere:{chat_id}")


def test_when_every_notice_is_lost_the_poll_repairs(chat: UUID, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_hints(monkeypatch)
    lose_parts(monkeypatch)

    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one", " two")
        assert words_of([await reader.event(), await reader.event()]) == [(1, "one"), (2, " two")]
        await world.commit(chat, "one two")
        assert names(await reader.until("preview_reset")) == ["message", "status", "preview_reset"]

    live(token, test, poll_every=0.1)


def test_a_hole_is_filled_before_anything_later_is_told(
    chat: UUID, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one")
        with monkeypatch.context() as lossy:
            lose_parts(lossy)
            await world.say(writer, " two", " three")
        await world.say(writer, " four")
        got = [await reader.event() for _ in range(4)]
        assert words_of(got) == [(1, "one"), (2, " two"), (3, " three"), (4, " four")]

    live(token, test)


def test_before_a_committed_answer_the_parts_that_were_lost_are_told(
    chat: UUID, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one")
        assert words_of([await reader.event()]) == [(1, "one")]
        lose_parts(monkeypatch)
        await world.say(writer, " two", " three")
        await world.commit(chat, "one two three")
        events = await reader.until("preview_reset")
        assert names(events) == ["message_part", "message_part", "message", "status", "preview_reset"]
        assert words_of(events) == [(2, " two"), (3, " three")]

    live(token, test)


def test_when_redis_forgets_the_episode_the_writer_mends_it_and_readers_get_nothing_twice(
    chat: UUID, token: str
) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one", " two")
        await world.redis.delete(writer.episode.key)
        await world.say(writer, " three")
        assert words_of([await reader.event() for _ in range(3)]) == [(1, "one"), (2, " two"), (3, " three")]
        late = await world.up_to_date(chat)
        assert words_of([await late.event() for _ in range(3)]) == [(1, "one"), (2, " two"), (3, " three")]

    live(token, test)


def test_a_takeover_resets_the_preview_and_the_old_worker_is_not_heard_any_more(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        old = await world.begin(chat)
        await world.say(old, "one")
        assert words_of([await reader.event()]) == [(1, "one")]
        new = await world.begin(chat)
        assert names([await reader.event()]) == ["preview_reset"]
        await world.say(old, " late")
        await world.say(new, "uno")
        event = await reader.event()
        assert (event.data["generation_attempt"], words_of([event])) == (2, [(1, "uno")])

    live(token, test)


def test_who_left_in_an_attempt_that_was_given_up_is_not_told_the_rest_of_it(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        old = await world.begin(chat)
        await world.say(old, "one", " two")
        cursor = (await reader.event()).cursor
        await reader.leave()
        await world.say(await world.begin(chat), "uno")
        await world.commit(chat, "uno")
        events = await world.stream(chat, last_event_id=cursor).until("ready")
        assert names(events) == ["message", "status", "preview_reset", "ready"]

    live(token, test)


def test_an_interrupt_tells_all_that_was_streamed_then_the_partial_answer(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        writer = await world.begin(chat)
        await world.say(writer, "one", " two")
        await world.update(chat, transitions.interrupt)
        await world.store.close(writer.episode)
        partial_answer = [NewMessage("assistant", [text("one two")], interrupted=True)]
        finish = partial(transitions.finish_interruption, partial=partial_answer)
        await world.update(chat, finish, transitions.abandon)
        events = await reader.until("preview_reset")
        assert words_of(events) == [(1, "one"), (2, " two")]
        assert names(events)[-3:] == ["message", "status", "preview_reset"]
        assert events[-3].data["message"]["interrupted"] is True

    live(token, test)


def test_a_newcomer_does_not_take_the_news_away_from_those_who_wait(
    chat: UUID, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        waiting = await world.up_to_date(chat)
        lose_hints(monkeypatch)
        await world.begin(chat)
        await world.commit(chat, "done")
        await world.up_to_date(chat)
        assert names([await waiting.event(), await waiting.event()]) == ["message", "status"]

    live(token, test)


def test_without_redis_what_is_committed_is_told_all_the_same_and_ready_once(
    chat: UUID, token: str, settings: Any
) -> None:
    settings.CHATD_REDIS_URL = "redis://127.0.0.1:9/0"

    async def test(world: World) -> None:
        await world.begin(chat)
        reader = await world.up_to_date(chat)
        await world.commit(chat, "done")
        assert names([await reader.event(), await reader.event()]) == ["message", "status"]
        assert reader.body.count(b"event: ready") == 1

    live(token, test, poll_every=0.1)


# --- the end ---------------------------------------------------------------------------------------------------------


def test_until_idle_ends_the_stream_when_everything_was_delivered(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat, "until=idle")
        writer = await world.begin(chat)
        await world.say(writer, "done")
        await world.commit(chat, "done")
        assert names(await reader.rest()) == ["message_part", "message", "status", "preview_reset"]

    live(token, test)


def test_the_stream_of_a_deleted_chat_ends(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        await world.in_database(lambda: Chat.objects.filter(pk=chat)._raw_delete("default"))
        assert await reader.rest() == []

    live(token, test, poll_every=0.1)


def test_a_silent_stream_is_pinged(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        reader = await world.up_to_date(chat)
        await reader.pinged(2)

    live(token, test, ping_every=0.05)


def test_a_disconnect_leaves_nothing_behind_and_changes_nothing(chat: UUID, user: Any, token: str) -> None:
    other = transitions.create_chat(owner=user, parts=[text("other")]).pk

    async def test(world: World) -> None:
        readers = [await world.up_to_date(chat) for _ in range(3)]
        channels = [part_channel(chat), hint_channel(chat)]
        assert await world.redis.pubsub_numsub(*channels) == [(name.encode(), 1) for name in channels]
        for reader in readers:
            await reader.leave()
        await world.nobody_watches()
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("stream-d")]
        await world.up_to_date(other)  # confirmed over the same connection, after the end of the earlier subscriptions
        assert await world.redis.pubsub_numsub(*channels) == [(name.encode(), 0) for name in channels]
        row = await world.in_database(lambda: Chat.objects.get(pk=chat))
        assert (row.status, row.snapshot_version) == ("running", 1)

    live(token, test)


def test_who_comes_back_while_the_last_reader_leaves_is_served(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        for turn in range(10):
            reader = await world.up_to_date(chat)
            leaving = asyncio.create_task(reader.leave())
            for _ in range(turn):
                await asyncio.sleep(0)
            again = world.stream(chat)
            await again.until("ready")
            await leaving
            await again.leave()

    live(token, test)


def test_a_reader_that_stalls_does_not_slow_the_others(chat: UUID, token: str) -> None:
    async def test(world: World) -> None:
        stalled, reader = await world.up_to_date(chat), await world.up_to_date(chat)
        stalled.stall()
        writer = await world.begin(chat)
        await world.say(writer, *"abcdefgh")
        assert [word for _, word in words_of([await reader.event() for _ in range(8)])] == list("abcdefgh")

    live(token, test)


def test_a_reader_that_leaves_its_outbox_untouched_is_dropped_with_what_it_has() -> None:
    now = [0.0]

    async def main() -> None:
        client = Client(uuid4(), NOTHING, clock=lambda: now[0])
        client.put(b"one ")
        now[0] += SLOW_AFTER
        client.put(b"two ")
        assert not client.ended
        now[0] += 0.1
        client.put(b"three")
        assert client.ended
        assert await client.take(within=WITHIN) == b"one two "
        client.put(b"four")
        assert await client.take(within=WITHIN) == b""

    asyncio.run(main())


def test_a_reader_is_dropped_when_too_much_waits_for_it_but_one_big_history_is_not_too_much() -> None:
    async def main() -> None:
        client = Client(uuid4(), NOTHING)
        client.put(b"x" * (OUTBOX_BYTES + 1))
        assert not client.ended
        client.put(b"y")
        assert client.ended

    asyncio.run(main())


def connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_two_hundred_idle_streams_hold_no_database_connection(user: Any, token: str, settings: Any) -> None:
    """With connections given back after each use, as in the web process; without, each reading thread keeps one."""
    chats = [transitions.create_chat(owner=user, parts=[text("hello")]).pk for _ in range(20)]
    settings.DATABASES["default"]["OPTIONS"]["pool"] = False

    async def test(world: World) -> None:
        readers = [world.stream(chats[number % len(chats)]) for number in range(200)]
        for reader in readers:
            await reader.until("ready")
        # the one that counts; Postgres takes a moment to see that the others have left
        await world.in_database(lambda: wait_until(connections, lambda held: held - before <= 1, timeout=10))

    before = connections()
    try:
        live(token, test)
    finally:
        del settings.DATABASES["default"]["OPTIONS"]["pool"]
    assert DATABASE_THREADS < 10
