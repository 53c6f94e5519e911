"""The path of one message on real processes: `./dev up`, HTTP, kills."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from config import embedded
from devtools.bench.client import Connection, HttpError
from devtools.stack import Stack, running_stack
from tests.acceptance.reader import Reader, text

DATA = Path(__file__).resolve().parents[1] / "data"
LEASE_TTL = 6.0
SLOW = "[long 60] [interval 0.05]"
"""An answer of 60 words in three seconds."""
ANSWER_LASTS = 3.0
WHOLE = " ".join(f"word{n}" for n in range(1, 61))

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(
        tmp_path_factory.mktemp("stack") / "data",
        CHATD_LEASE_TTL=f"{LEASE_TTL:g}",
        CHATD_HEARTBEAT_INTERVAL="2",
        DEMOMODEL_INTERVAL="0.002",
    ) as stack:
        yield stack


async def start_chat(stack: Stack, prompt: str) -> str:
    chat = await post(stack, "/api/v1/chats", {"message": {"text": prompt}})
    return str(chat["id"])


async def post(stack: Stack, path: str, body: Any = None) -> Any:
    connection = Connection(stack.url, stack.token)
    try:
        return await connection.request("POST", path, body)
    finally:
        await connection.close()


async def get(stack: Stack, path: str) -> Any:
    connection = Connection(stack.url, stack.token)
    try:
        return await connection.request("GET", path)
    finally:
        await connection.close()


async def history(stack: Stack, chat_id: str) -> list[tuple[str, str]]:
    """(role, text) of every message."""
    answer = await get(stack, f"/api/v1/chats/{chat_id}/messages")
    return [(message["role"], text(message)) for message in answer["items"]]


async def midway(stack: Stack, reader: Reader) -> None:
    await reader.until(lambda r: "word10" in r.preview, within=20)


def last_start_of_a_worker(stack: Stack) -> float:
    """By this machine's clock; to start one takes seconds where others are at work."""
    (*_, line) = (line for line in stack.log().splitlines() if '"worker.started"' in line)
    said = json.loads(line[line.index("{") :])
    return datetime.fromisoformat(said["timestamp"]).timestamp()


def test_eighty_conversations_of_two_turns_sixteen_at_a_time(stack: Stack) -> None:
    rows = [json.loads(line) for line in (DATA / "mt_bench_questions.jsonl").read_text().splitlines()]
    gate = asyncio.Semaphore(16)

    async def converse(turns: list[str]) -> list[str]:
        async with gate:
            chat_id = await start_chat(stack, turns[0])
            async with Reader(stack.url, stack.token, chat_id) as reader:
                await reader.until(lambda r: len(r.answers()) == 1 and r.status == "waiting", within=60)
                await post(stack, f"/api/v1/chats/{chat_id}/messages", {"text": turns[1]})
                await reader.until(lambda r: len(r.answers()) == 2 and r.status == "waiting", within=60)
            messages = await history(stack, chat_id)
            assert [said for role, said in messages if role == "user"] == turns
            assert all(said for _, said in messages)
            chat = await get(stack, f"/api/v1/chats/{chat_id}")
            assert chat["state"] == "W"
            return [role for role, _ in messages]

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(*(converse(row["turns"]) for row in rows))

    roles = asyncio.run(all_of_them())
    assert roles == [["user", "assistant", "user", "assistant"]] * 80


def test_a_killed_worker_loses_nothing_and_the_reader_sees_the_answer_whole(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Tell me. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            killed_at = time.time()
            stack.kill("chat-worker-1")  # `./dev` starts another at once
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=60)
            free_at = max(killed_at + LEASE_TTL, last_start_of_a_worker(stack))
            assert time.time() - free_at < 3 + ANSWER_LASTS
            assert reader.connections == 1
            assert reader.previews[-1] == WHOLE, "the second attempt was seen from its first word"
            assert WHOLE.startswith(reader.previews[0])
            assert reader.answers() == [WHOLE]
        assert await history(stack, chat_id) == [("user", f"Tell me. {SLOW}"), ("assistant", WHOLE)]

    asyncio.run(scenario())


def test_a_reader_of_a_killed_web_process_comes_back_by_cursor_and_misses_nothing(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Tell me more. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            stack.kill("web")
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=60)
            assert reader.connections > 1
            assert reader.previews == [WHOLE], "parts from before and after the kill make one text, nothing twice"
            assert reader.answers() == [WHOLE]
            assert not [event for event in reader.events if event.name == "history_reset"]

    asyncio.run(scenario())


def test_a_web_process_that_is_told_to_stop_ends_its_streams_at_once(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Go. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            web = psutil.Process(stack.kill("web", signal.SIGTERM))
            await asyncio.to_thread(web.wait, 3)
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=60)
            assert reader.connections > 1
            assert (reader.previews, reader.answers()) == ([WHOLE], [WHOLE])

    asyncio.run(scenario())


@pytest.mark.parametrize("role", ["beat", "maintenance"])
def test_nobody_notices_that_a_helper_was_killed(stack: Stack, role: str) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Go on. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            stack.kill(role)
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=30)
            assert (reader.connections, reader.previews, reader.answers()) == (1, [WHOLE], [WHOLE])

    asyncio.run(scenario())


def test_an_interrupt_is_quick_and_saves_exactly_what_was_streamed(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"And then? {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            asked_at = time.monotonic()
            await post(stack, f"/api/v1/chats/{chat_id}/interrupt")
            await reader.until(lambda r: r.status == "waiting", within=10)
            assert time.monotonic() - asked_at < 0.3
            assert len(reader.previews) == 1
            assert reader.answers() == reader.previews
            assert WHOLE.startswith(reader.previews[0])
            (answer,) = [message for message in reader.messages.values() if message["role"] == "assistant"]
            assert answer["interrupted"]

    asyncio.run(scenario())


def test_an_interrupt_of_a_dead_workers_answer_keeps_what_was_streamed(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"What else? {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            stack.kill("chat-worker-1")
            await post(stack, f"/api/v1/chats/{chat_id}/interrupt")
            await reader.until(lambda r: r.status == "waiting", within=30)
            assert reader.answers() == reader.previews
            assert reader.previews[0].startswith("word1 word2")

    asyncio.run(scenario())


def test_a_worker_that_is_told_to_stop_finishes_its_answer_first(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Finish it. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            stack.kill("chat-worker-1", signal.SIGTERM)
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=30)
            assert reader.previews == [WHOLE], "one attempt only"

    asyncio.run(scenario())


def test_an_interrupt_of_an_idle_chat_is_refused_with_its_state(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, "Hello [at once]")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await reader.until(lambda r: r.status == "waiting", within=30)
        with pytest.raises(HttpError, match=r'409 .*"transition_not_allowed".*"state": "W"'):
            await post(stack, f"/api/v1/chats/{chat_id}/interrupt")

    asyncio.run(scenario())


def test_the_terminal_prints_a_streamed_answer(stack: Stack) -> None:
    done = stack.manage("chat", "Hello [say Good day to you.]")
    assert done.returncode == 0, done.stderr
    assert "Good day to you." in done.stdout


def redis_of(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(embedded.addresses(stack.data_dir).redis_url)


def test_an_emptied_redis_in_the_middle_of_an_answer_loses_nothing(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Once more. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            with redis_of(stack) as client:
                client.flushall()
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=30)
            assert (reader.previews, reader.answers()) == ([WHOLE], [WHOLE])
            await post(stack, f"/api/v1/chats/{chat_id}/messages", {"text": "And now? [say Still here.]"})
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 2, within=10)
            assert reader.answers()[1] == "Still here."

    asyncio.run(scenario())


def test_a_killed_redis_in_the_middle_of_an_answer_loses_nothing(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Twice more. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            stack.kill("redis")  # `./dev` starts another, empty
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=30)
            assert reader.answers() == [WHOLE]
            await post(stack, f"/api/v1/chats/{chat_id}/messages", {"text": "And now? [say Still here.]"})
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 2, within=30)
        assert [role for role, _ in await history(stack, chat_id)] == ["user", "assistant"] * 2

    asyncio.run(scenario())


def test_a_postgres_that_crashes_in_the_middle_of_an_answer_loses_nothing(stack: Stack) -> None:
    async def scenario() -> None:
        chat_id = await start_chat(stack, f"Three times. {SLOW}")
        async with Reader(stack.url, stack.token, chat_id) as reader:
            await midway(stack, reader)
            await asyncio.to_thread(embedded.restart_postgres, stack.data_dir, "immediate")
            await reader.until(lambda r: r.status == "waiting" and len(r.answers()) == 1, within=40)
            assert reader.answers() == [WHOLE]
        assert await history(stack, chat_id) == [("user", f"Three times. {SLOW}"), ("assistant", WHOLE)]

    asyncio.run(scenario())


def test_at_the_end_nothing_is_left_running(stack: Stack) -> None:
    with psycopg.connect(embedded.addresses(stack.data_dir).database_url) as connection:
        query = """SELECT (SELECT count(*) FROM chat_runnerlease),
            (SELECT count(*) FROM chat_chat WHERE status IN ('running', 'interrupting') OR runner_id IS NOT NULL),
            (SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%')"""
        assert connection.execute(query).fetchone() == (0, 0, 0)
    with redis_of(stack) as client:
        ours = [key for key in client.scan_iter("chatd:*") if client.ttl(key) < 0]
        assert ours == [], "every key of ours has a time to live"
