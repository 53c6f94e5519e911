"""A whole system under injected faults: processes that die at crash points, a database that breaks around COMMIT.

Runs with CHATD_TEST_INJECTED_FAULTS=1. Processes die at the points that matter most; with
CHATD_TEST_ALL_CRASH_POINTS=1, at every one.
"""

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chat.crash import POINTS
from chatworker.testing import StillBusy, wait_until
from config import embedded
from devtools.chaos.injection.spec import tell
from devtools.stack import Stack, running_stack
from tests.acceptance.talking import Books, Talker, balance

pytestmark = [
    pytest.mark.timeout(420),
    pytest.mark.skipif(
        not os.environ.get("CHATD_TEST_INJECTED_FAULTS"), reason="takes minutes: set CHATD_TEST_INJECTED_FAULTS=1"
    ),
]
CLIENTS = 6
LEASE_TTL = 4.0
CHAOS = {"CHATD_CHAOS": "1", "CHATD_LEASE_TTL": f"{LEASE_TTL:g}", "CHATD_HEARTBEAT_INTERVAL": "1",
         "DEMOMODEL_INTERVAL": "0.002"}  # fmt: skip

SELDOM = {"hand_over.before", "hand_over.after", "door.fence_refused"}
"""Points of a worker that is told to stop, or that came too late."""
SELDOM |= {point for point in POINTS if point.startswith(("archive.", "purge."))}  # tests/integration/test_retention.py
ONLY_WEB = {point for point in POINTS if point.startswith(("creation.", "post.", "wake_up."))}
BOTH = {point for point in POINTS if point.startswith(("door.", "hint."))} - SELDOM
EVERYWHERE = {("web", point) for point in ONLY_WEB | BOTH}
EVERYWHERE |= {("chat-worker", point) for point in set(POINTS) - ONLY_WEB - SELDOM}
WHERE_IT_MATTERS = {
    ("web", "creation.commit.after"), ("web", "post.commit.before"), ("web", "wake_up.before"),
    ("chat-worker", "acquire.after"), ("chat-worker", "door.committed"), ("chat-worker", "model.first_part"),
    ("chat-worker", "answer.commit.before"), ("chat-worker", "interrupt.close.after"),
    ("chat-worker", "tools.commit.after"), ("chat-worker", "heartbeat.after"),
}  # fmt: skip
WANTED = EVERYWHERE if os.environ.get("CHATD_TEST_ALL_CRASH_POINTS") else WHERE_IT_MATTERS


def landed(chaos: Path) -> list[dict[str, Any]]:
    file = chaos / "faults.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def talk(
    stack: Stack, books: Books, *, until: Callable[[], bool], within: float, quiet: Callable[[], None] = lambda: None
) -> int:
    """Clients that talk until so much has broken; the number of messages that are there in the end."""

    async def scenario() -> list[list[dict[str, Any]]]:
        talkers = [Talker(stack.url, stack.token, books) for _ in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for talker in talkers:
                group.create_task(talker.run())
            with contextlib.suppress(StillBusy):  # then less has landed than was planned, which the test says
                await asyncio.to_thread(wait_until, until, bool, timeout=within)
            quiet()
            for talker in talkers:
                talker.over.set()
        async with asyncio.timeout(60):
            chats = chats_of(stack)
            for chat_id in chats:
                await talkers[0].rest(chat_id)
            return [await talkers[0].messages(chat_id) for chat_id in chats]

    return balance(books, asyncio.run(scenario()))


def chats_of(stack: Stack) -> list[str]:
    with psycopg.connect(embedded.addresses(stack.data_dir).database_url) as connection:
        return [str(row[0]) for row in connection.execute("SELECT id FROM chat_chat").fetchall()]


def rests(stack: Stack) -> bool:
    """Nobody owns anything any more."""
    query = "SELECT (SELECT count(*) FROM chat_runnerlease), count(*) FROM chat_chat WHERE runner_id IS NOT NULL"
    with psycopg.connect(embedded.addresses(stack.data_dir).database_url) as connection:
        return connection.execute(query).fetchone() == (0, 0)


def test_a_process_that_dies_at_any_crash_point_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chaos = tmp_path / "chaos"
    rules = [f"{side}:{point}=exit@2" for side, point in sorted(WANTED)]

    def died() -> set[tuple[str, str]]:
        return {(fault["process"].rstrip("-12"), fault["point"]) for fault in landed(chaos)}

    with running_stack(
        tmp_path / "data", workers=2, restart_within=0.3,
        CHATD_CHAOS_DIR=str(chaos), CHATD_CRASH_POINTS=";".join(rules), **CHAOS,
    ) as stack:  # fmt: skip
        said = talk(stack, Books(), until=lambda: died() == WANTED, within=300)
        assert WANTED - died() == set(), "died everywhere once"
        assert said > 0
        assert rests(stack)


def test_a_database_that_breaks_around_commit_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chaos = tmp_path / "chaos"
    chaos.mkdir()
    faults = "; ".join(
        ["seed=5", "commit_ambiguous=0.05", "commit_terminated=0.05", "commit_lost=0.03", "execute_lost=0.01",
         "execute_ambiguous=0.05", "serialization=0.01", "delay=0.02"]
    )  # fmt: skip

    def counted() -> Counter[str]:
        return Counter(fault["fault"].removeprefix("database.") for fault in landed(chaos))

    with running_stack(
        tmp_path / "data", workers=2, CHATD_CHAOS_DIR=str(chaos),
        DJANGO_SETTINGS_MODULE="devtools.chaos.injection.settings", **CHAOS,
    ) as stack:  # fmt: skip
        books = Books()
        for scope in ("chat-worker", "web"):
            tell(chaos, "database", f"{scope}: {faults}")
            before = counted()
            said = talk(
                stack,
                books,
                until=lambda before=before: (counted() - before)["commit_ambiguous"] >= 25,
                within=90,
                quiet=lambda: tell(chaos, "database", ""),
            )
            assert said > 0
            struck = counted() - before
            assert min(struck[kind] for kind in ("commit_ambiguous", "commit_terminated", "commit_lost")) >= 5, struck
            assert rests(stack)
