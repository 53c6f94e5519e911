"""The fault suite in short: the blows of `./dev chaos`, one or two of each, while people talk. docs/chaos.md."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from config import embedded
from devtools.chaos import campaign
from devtools.chaos.campaign import Result
from devtools.chaos.collect import collect
from devtools.chaos.faults import FAULTS, INJECTED
from devtools.chaos.injection.handles import can_shift_clocks
from devtools.chaos.oracle import Kind
from devtools.chaos.schedule import schedule
from devtools.chaos.stack import running_target
from devtools.chaos.target import Target

SEED = 1
CHATS = 10

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Two chat workers with leases of six seconds, for all tests of this module; nothing is injected until one asks."""
    with running_target(tmp_path_factory.mktemp("chaos"), INJECTED) as target:
        yield target


def struck(target: Target, folder: Path, name: str, times: int = 1) -> Result:
    """What came of a fault; the test has failed already if an invariant broke."""
    fault = FAULTS[name]
    plan = schedule(fault, times, SEED)
    result = asyncio.run(
        campaign.run(
            target, fault, plan, seed=SEED, journal_path=folder / f"{name}.jsonl", say=print, chats=CHATS
        )
    )  # fmt: skip
    assert [str(finding) for finding in result.findings] == []
    assert result.cost.answers >= CHATS
    return result


def found_dead(target: Target) -> dict[str, datetime]:
    """When each killed worker was found, and its leases taken instead of waited for; by the clock of who found it."""
    found: dict[str, datetime] = {}
    for line in target.log_lines("worker.found_dead"):
        for worker_id in line["workers"]:
            found.setdefault(worker_id, datetime.fromisoformat(line["timestamp"]))
    return found


def test_killed_chat_workers_lose_nothing_and_others_go_on_before_the_lease_expires(
    target: Target, tmp_path: Path
) -> None:
    result = struck(target, tmp_path, "kill-worker", times=2)
    found = found_dead(target)
    assert result.takeovers
    for passage in result.takeovers:
        assert passage.took is not None
        taken_at = datetime.fromtimestamp(passage.blow.at + passage.took, UTC)
        assert all(found[worker_id] < taken_at for worker_id in passage.blow.worker_ids)


def test_the_successors_of_all_killed_chat_workers_go_on(target: Target, tmp_path: Path) -> None:
    assert struck(target, tmp_path, "kill-all-workers").takeovers


def test_a_chat_worker_that_is_told_to_end_finishes_its_answers(target: Target, tmp_path: Path) -> None:
    result = struck(target, tmp_path, "sigterm-drain")
    assert (result.handovers, result.cost.again) == ([], 0)


def test_a_chat_worker_that_wakes_up_after_its_leases_expired_changes_nothing(target: Target, tmp_path: Path) -> None:
    assert struck(target, tmp_path, "sigstop").takeovers


def test_nobody_notices_that_redis_forgot_everything(target: Target, tmp_path: Path) -> None:
    cost = struck(target, tmp_path, "flushall", times=2).cost
    assert (cost.again, cost.previews_whole) == (0, cost.previews)


def test_answers_go_on_without_redis(target: Target, tmp_path: Path) -> None:
    struck(target, tmp_path, "redis-restart")


def test_a_crash_of_postgres_under_many_answers_saves_each_once(target: Target, tmp_path: Path) -> None:
    struck(target, tmp_path, "postgres-immediate")


def test_a_web_process_killed_between_messages_keeps_what_it_acknowledged(target: Target, tmp_path: Path) -> None:
    struck(target, tmp_path, "kill-web")


@pytest.mark.skipif(not can_shift_clocks(), reason="needs Linux and a C compiler (Debian: apt install gcc libc6-dev)")
def test_a_chat_worker_whose_clock_is_wrong_takes_over_from_one_that_was_killed(target: Target, tmp_path: Path) -> None:
    result = struck(target, tmp_path, "clock-shift-kill")
    killed = {worker_id for passage in result.takeovers for worker_id in passage.blow.worker_ids}
    assert killed
    assert killed <= found_dead(target).keys()


def test_everything_is_found_without_hints_and_wake_ups(target: Target, tmp_path: Path) -> None:
    assert struck(target, tmp_path, "hints-lost").blows[0].times > 0


def test_commits_of_which_nobody_is_told_the_outcome_are_resolved(target: Target, tmp_path: Path) -> None:
    assert struck(target, tmp_path, "commits-in-doubt").blows[0].times > 0


def test_the_judge_finds_what_is_planted_in_the_database(target: Target, tmp_path: Path) -> None:
    """The same reading and the same judge, of a database in which messages were lost, doubled and cut by hand."""
    fault = FAULTS["flushall"]
    plan = schedule(fault, 1, SEED)

    async def scenario() -> tuple[Result, Result]:
        talk, evidence = await campaign.strike_and_collect(
            target, fault, plan, seed=SEED, journal_path=tmp_path / "planted.jsonl", say=print, chats=CHATS
        )
        terms = campaign.terms_of(target, fault)
        sound = campaign.verdict(fault, plan, talk.blows, evidence, terms)
        lost, doubled, cut, stuck = (
            next(row for row in evidence.messages if (row.chat_id, row.role) == (chat.id, role))
            for chat, role in zip(evidence.chats, ("user", "user", "assistant", "user"), strict=False)
        )
        with psycopg.connect(embedded.addresses(target.data_dir).database_url) as connection:
            connection.execute("SET session_replication_role = replica")  # past every trigger
            connection.execute("DELETE FROM chat_chatmessage WHERE id = %s", [lost.id])
            connection.execute(
                """INSERT INTO chat_chatmessage (chat_id, role, parts, content_version, visibility, compressed, deleted,
                       interrupted, revision, model)
                   SELECT chat_id, role, parts, content_version, visibility, compressed, deleted, interrupted, revision,
                       model FROM chat_chatmessage WHERE id = %s""",
                [doubled.id],
            )
            connection.execute(
                """UPDATE chat_chatmessage SET parts = '[{"type": "text", "text": "half a wo"}]' WHERE id = %s""",
                [cut.id],
            )
            connection.execute(
                """INSERT INTO chat_queuedmessage (chat_id, parts, position, model)
                   SELECT chat_id, parts, 1, '' FROM chat_chatmessage WHERE id = %s""",
                [stuck.id],
            )
        rest = await target.rest(within=1)
        planted = await collect(target, talk.journal, talk.seen, rest, since=talk.since, there=talk.there)
        return sound, campaign.verdict(fault, plan, talk.blows, planted, terms)

    sound, planted = asyncio.run(scenario())
    assert [str(finding) for finding in sound.findings] == []
    found = {finding.kind for finding in planted.findings}
    assert found >= {Kind.LOST, Kind.DOUBLED, Kind.MALFORMED, Kind.STUCK, Kind.UNSEEN}
