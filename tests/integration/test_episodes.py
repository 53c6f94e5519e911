"""Episodes in a real Redis: parts in order, closed means closed, and what Redis forgot is written again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio
from django.conf import settings
from redis.exceptions import ConnectionError as RedisGone

from chat.channels import EPISODE_KEPT, LivePart, decode_part, part_channel
from chat.episode_writer import MAX_BYTES, EpisodeWriter
from chat.episodes import (
    EpisodeClosed,
    EpisodeElsewhere,
    EpisodeExists,
    EpisodeFull,
    EpisodeId,
    EpisodeNotFound,
    EpisodeStore,
)

WITHIN = 5.0
A, B, C = ({"type": "source", "index": number, "url": letter} for number, letter in enumerate("abc"))


def text(words: str, index: int = 0) -> dict[str, Any]:
    return {"type": "text", "index": index, "text": words}


def an_episode() -> EpisodeId:
    return EpisodeId(uuid4(), history_version=3, generation_attempt=1)


class Bench:
    """One Redis client, a store, one episode, and everybody who listens to its chat."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.redis = client
        self.store = EpisodeStore(client)
        self.episode = an_episode()

    async def stored(self, after_seq: int = 0) -> list[tuple[int, Any]]:
        return [(seq, part) for seq, _, part in await self.store.parts(self.episode, after_seq=after_seq)]

    async def forget(self) -> None:
        """What FLUSHALL does to this episode."""
        await self.redis.delete(self.episode.key)

    def writer(self, store: Any = None, **options: Any) -> EpisodeWriter:
        return EpisodeWriter(store or self.store, self.episode, **options)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Callable[[], Awaitable[LivePart]]]:
        async with self.redis.pubsub() as pubsub:
            await pubsub.subscribe(part_channel(self.episode.chat_id))

            async def heard() -> LivePart:
                while True:
                    message = await pubsub.get_message(timeout=WITHIN)
                    assert message is not None, "nothing was published"
                    if message["type"] == "message":
                        part = decode_part(message["data"])
                        assert part is not None
                        return part

            yield heard


def run(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), redis.asyncio.Redis.from_url(settings.CHATD_REDIS_URL) as client:
            bench = Bench(client)
            await test(bench)
            assert 0 < await client.ttl(bench.episode.key) <= EPISODE_KEPT or not await client.exists(bench.episode.key)
            await bench.forget()

    asyncio.run(main())


# --- the store -------------------------------------------------------------------------------------------------------


def test_an_episode_is_created_once() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.create(bench.episode)
        with pytest.raises(EpisodeExists):
            await bench.store.create(bench.episode)

    run(test)


def test_an_unknown_episode_takes_no_part() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(EpisodeNotFound):
            await bench.store.append(bench.episode, 0, "assistant", [A])
        assert await bench.stored() == []

    run(test)


def test_parts_get_seq_1_2_3_and_are_read_as_copies() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.create(bench.episode)
        await bench.store.append(bench.episode, 0, "assistant", [A, B])
        await bench.store.append(bench.episode, 2, "assistant", [C])
        (await bench.stored())[0][1]["url"] = "changed"
        assert await bench.stored() == [(1, A), (2, B), (3, C)]
        assert await bench.stored(after_seq=2) == [(3, C)]
        assert await bench.stored(after_seq=3) == []

    run(test)


def test_a_closed_episode_takes_no_part_and_may_be_closed_again() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.append(bench.episode, 0, "assistant", [A], create=True)
        await bench.store.close(bench.episode)
        await bench.store.close(bench.episode)
        with pytest.raises(EpisodeClosed):
            await bench.store.append(bench.episode, 1, "assistant", [B], create=True)
        with pytest.raises(EpisodeExists):
            await bench.store.create(bench.episode)
        assert await bench.stored() == [(1, A)]

    run(test)


def test_closing_an_unknown_episode_creates_it_closed() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.close(bench.episode)
        with pytest.raises(EpisodeClosed):
            await bench.store.append(bench.episode, 0, "assistant", [A], create=True)

    run(test)


def test_a_part_that_does_not_continue_what_is_stored_is_refused_with_where_it_ends() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.append(bench.episode, 0, "assistant", [A, B], create=True)
        with pytest.raises(EpisodeElsewhere) as refused:
            await bench.store.append(bench.episode, 5, "assistant", [C])
        assert refused.value.ends_with == 2
        assert await bench.stored() == [(1, A), (2, B)]

    run(test)


def test_chats_and_attempts_do_not_see_each_other() -> None:
    async def test(bench: Bench) -> None:
        first, second, other = bench.episode, EpisodeId(bench.episode.chat_id, 3, 2), an_episode()
        await bench.store.append(first, 0, "assistant", [A], create=True)
        await bench.store.append(second, 0, "assistant", [B], create=True)
        await bench.store.append(other, 0, "assistant", [C], create=True)
        await bench.store.close(second)
        await bench.store.append(first, 1, "assistant", [C])
        assert [part for *_, part in await bench.store.parts(first)] == [A, C]
        assert [part for *_, part in await bench.store.parts(second)] == [B]
        assert [part for *_, part in await bench.store.parts(other)] == [C]
        await bench.redis.delete(second.key, other.key)

    run(test)


def test_who_listens_before_the_episode_exists_hears_every_part_and_each_is_stored_by_then() -> None:
    async def test(bench: Bench) -> None:
        async with bench.listening() as heard:
            await bench.store.append(bench.episode, 0, "assistant", [A, text('quote " and é')], create=True)
            assert await heard() == LivePart(3, 1, 1, "assistant", A)
            assert await heard() == LivePart(3, 1, 2, "assistant", text('quote " and é'))
            assert len(await bench.stored()) == 2

    run(test)


@pytest.mark.parametrize("what", ["create", "append", "close"])
def test_every_key_has_a_time_to_live(what: str) -> None:
    async def test(bench: Bench) -> None:
        if what == "create":
            await bench.store.create(bench.episode)
        elif what == "append":
            await bench.store.append(bench.episode, 0, "assistant", [A], create=True)
        else:
            await bench.store.close(bench.episode)
        assert EPISODE_KEPT - 5 < await bench.redis.ttl(bench.episode.key) <= EPISODE_KEPT

    run(test)


# --- the writer ------------------------------------------------------------------------------------------------------


def test_the_first_part_goes_out_at_once_and_what_comes_meanwhile_goes_together() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer(coalesce=0.2)
        async with bench.listening() as heard, writer.sending():
            writer.add(text("one"))
            assert (await heard()).part == text("one")
            for word in (" two", " three"):
                writer.add(text(word))
            writer.add(text("other", index=1))
            assert (await heard()).part == text(" two three")
            assert (await heard()).part == text("other", index=1)
        assert writer.streamed == [text("one"), text(" two three"), text("other", index=1)]

    run(test)


def test_only_text_of_the_same_part_is_joined() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer()
        different = [text("a"), text("b", index=1), text("c") | {"type": "reasoning"}, A, A, text("d")]
        for part in different:
            writer.add(part)
        await writer.flush()
        assert await bench.stored() == list(enumerate(different, start=1))

    run(test)


def test_what_was_sent_is_never_changed_afterwards() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer()
        writer.add(text("sent"))
        await writer.flush()
        writer.add(text(" later"))
        assert await bench.stored() == [(1, text("sent"))]
        await writer.flush()
        assert await bench.stored() == [(1, text("sent")), (2, text(" later"))]

    run(test)


def test_when_redis_forgets_everything_the_writer_writes_it_again_from_1() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer()
        for word in ("one", "two"):
            writer.add(text(word))
            await writer.flush()
        await bench.forget()
        writer.add(text("three"))
        async with bench.listening() as heard:
            await writer.flush()
            assert [(await heard()).seq for _ in range(3)] == [1, 2, 3]
        assert await bench.stored() == [(1, text("one")), (2, text("two")), (3, text("three"))]
        assert writer.streamed == [text("one"), text("two"), text("three")]

    run(test)


class Unreliable(EpisodeStore):
    """Loses what it is told to: the command itself, the connection under it, or only the reply to it."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client)
        self.loses: list[str] = []

    async def append(self, *args: Any, **kwargs: Any) -> None:
        lost = self.loses.pop(0) if self.loses else ""
        if lost == "command":
            raise RedisGone("gone")
        if lost == "connection":
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        await super().append(*args, **kwargs)
        if lost == "reply":
            raise RedisGone("gone")


@pytest.mark.parametrize(
    "loses", [["reply"], ["command"], ["connection"], ["reply", "reply"], ["command", "reply"]], ids=str
)
def test_a_lost_command_or_reply_makes_no_part_double_and_none_missing(loses: list[str]) -> None:
    async def test(bench: Bench) -> None:
        store = Unreliable(bench.redis)
        writer = bench.writer(store)
        writer.add(text("one"))
        await writer.flush()
        store.loses = list(loses)
        for word in (" two", " three", " four"):
            writer.add(text(word))
            await writer.flush()
        assert "".join(part["text"] for _, part in await bench.stored()) == "one two three four"
        assert [seq for seq, _ in await bench.stored()] == [1, 2, 3, 4]

    run(test)


def test_while_redis_is_away_parts_wait_and_count_as_streamed() -> None:
    async def test(bench: Bench) -> None:
        store = Unreliable(bench.redis)
        store.loses = ["command"]
        writer = bench.writer(store)
        writer.add(text("one"))
        await writer.flush()
        assert await bench.stored() == []
        assert writer.streamed == [text("one")]
        async with bench.listening() as heard, writer.sending():
            assert (await heard()).part == text("one")

    run(test)


def test_a_send_that_was_cancelled_on_its_way_is_completed_by_the_next_one() -> None:
    async def test(bench: Bench) -> None:
        for _ in range(20):  # wherever in the exchange with Redis the cancellation hits
            writer = bench.writer()
            writer.add(text("one"))
            sender = asyncio.create_task(writer.flush())
            await asyncio.sleep(0)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            writer.add(text(" two"))
            await writer.flush()
            assert "".join(part["text"] for _, part in await bench.stored()) == "one two"
            await bench.forget()

    run(test)


def test_leaving_sends_the_rest_but_not_after_an_error() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer(coalesce=60)
        async with writer.sending():
            writer.add(text("all of it"))
        assert await bench.stored() == [(1, text("all of it"))]
        await bench.forget()
        writer = bench.writer(coalesce=60)
        with pytest.raises(ZeroDivisionError):
            async with writer.sending():
                writer.add(text("never on its way"))
                raise ZeroDivisionError
        assert await bench.stored() == []
        assert writer.streamed == []

    run(test)


def test_parts_after_somebody_else_closed_the_episode_are_refused_and_were_never_streamed() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer()
        writer.add(text("seen"))
        await writer.flush()
        await bench.store.close(bench.episode)
        writer.add(text(" late"))
        await writer.flush()
        with pytest.raises(EpisodeClosed):
            writer.add(text(" later"))
        assert await bench.stored() == [(1, text("seen"))]
        assert writer.streamed == [text("seen")]

    run(test)


def bytes_of(parts: list[tuple[int, Any]]) -> int:
    return sum(
        len(
            json.dumps(
                {"seq": seq, "role": "assistant", "part": part}, ensure_ascii=False, separators=(",", ":")
            ).encode()
        )
        for seq, part in parts
    )


@pytest.mark.parametrize("flushed", [True, False], ids=["sent between", "joined"])
def test_the_size_cap_may_be_reached_but_not_exceeded(flushed: bool) -> None:
    async def test(bench: Bench) -> None:
        filler = 'é"\n' * 100
        expected = [(1, text(filler)), (2, text("y" * 50))] if flushed else [(1, text(filler + "y" * 50))]
        writer = bench.writer(max_bytes=bytes_of(expected))
        writer.add(text(filler))
        if flushed:
            await writer.flush()
        writer.add(text("y" * 50))
        with pytest.raises(EpisodeFull):
            writer.add(text("z"))
        await writer.flush()
        assert await bench.stored() == expected

    run(test)


def test_a_part_beyond_the_cap_is_not_stored_takes_no_seq_and_nobody_hears_of_it_or_of_what_follows() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer(max_bytes=200)
        writer.add(text("fits"))
        with pytest.raises(EpisodeFull):
            writer.add(text("x" * 300))
        with pytest.raises(EpisodeFull):
            writer.add(text("would fit, but leave a hole"))
        await writer.flush()
        assert await bench.stored() == [(1, text("fits"))]
        assert writer.streamed == [text("fits")]

    run(test)


def test_an_episode_holds_a_mebibyte() -> None:
    async def test(bench: Bench) -> None:
        writer = bench.writer()
        overhead = bytes_of([(1, text(""))])
        writer.add(text("x" * (MAX_BYTES - overhead)))
        with pytest.raises(EpisodeFull):
            writer.add(text("x"))
        await writer.flush()
        assert bytes_of(await bench.stored()) == MAX_BYTES == 1024 * 1024

    run(test)
