"""What a fault in particular promises, and whether it happened at all: values in, findings out."""

import math
from dataclasses import replace

import pytest

from devtools.chaos.blows import Blow
from devtools.chaos.faults import FAULTS
from devtools.chaos.load.journal import Outcome, Request
from devtools.chaos.load.wording import Wording
from devtools.chaos.measures import Cost, Passage, Wait
from devtools.chaos.oracle import Kind
from devtools.chaos.oracle.health import judge_health, judge_promises, judge_waits
from tests.blows import CHAT, FROZEN, KILL, NOTHING, PASSAGE, TERMS, TOLD

KILL_WORKER, FLUSHALL = FAULTS["kill-worker"], FAULTS["flushall"]


def promises(passage: Passage) -> list[Kind]:
    return [found.kind for found in judge_promises(KILL_WORKER, NOTHING, TERMS, [passage], Cost(1, 1))]


def test_a_chat_that_waited_longer_than_its_lease_and_five_seconds_was_stuck() -> None:
    assert promises(Passage(CHAT, KILL, 11.1)) == [Kind.STUCK]
    assert promises(Passage(CHAT, KILL, None)) == [Kind.STUCK]
    assert promises(Passage(CHAT, KILL, 10.9)) == []
    assert promises(Passage(CHAT, KILL, 15.9, alone=5.0)) == []


def test_a_chat_that_was_nobodys_for_longer_than_that_was_stuck_whatever_was_hit() -> None:
    def found(lasted: float, alone: float = 0.0) -> list[Kind]:
        return [one.kind for one in judge_waits([Wait(CHAT, 1.0, lasted, alone)], TERMS)]

    assert (found(11.1), found(math.inf), found(10.9), found(15.9, 5.0)) == ([Kind.STUCK], [Kind.STUCK], [], [])


def test_a_worker_that_was_told_to_end_gives_its_chats_back() -> None:
    assert promises(Passage(CHAT, TOLD, 2.0, let_go=True)) == []
    assert promises(Passage(CHAT, TOLD, 2.0)) == [Kind.BROKEN_PROMISE]
    assert promises(Passage(CHAT, KILL, 2.0)) == []


def test_an_answer_begun_again_is_a_broken_promise_where_no_worker_was_hurt() -> None:
    assert [f.kind for f in judge_promises(FLUSHALL, NOTHING, TERMS, [], Cost(9, 1, 1))] == [Kind.BROKEN_PROMISE]
    assert list(judge_promises(FLUSHALL, NOTHING, TERMS, [], Cost(9, 0))) == []


def test_a_chat_taken_from_a_sound_worker_is_a_broken_promise() -> None:
    found = judge_promises(KILL_WORKER, NOTHING, TERMS, [], Cost(9, 1, unprovoked=1))
    assert [one.kind for one in found] == [Kind.BROKEN_PROMISE]


def test_an_answer_begun_again_by_the_same_runner_is_one_wherever_commits_are_not_in_doubt() -> None:
    for name, kinds in {"kill-worker": [Kind.BROKEN_PROMISE], "commits-in-doubt": [], "mixed": []}.items():
        found = judge_promises(FAULTS[name], NOTHING, TERMS, [], Cost(9, 1, by_itself=1))
        assert [one.kind for one in found] == kinds


def test_an_answer_begun_again_after_a_long_outage_is_none() -> None:
    assert list(judge_promises(FAULTS["postgres-immediate"], NOTHING, TERMS, [], Cost(9, 1, 0))) == []


def test_an_answer_that_was_not_seen_whole_is_a_finding_where_nobody_was_to_notice() -> None:
    short = Cost(9, 0, previews=9, previews_whole=8)
    assert [one.kind for one in judge_promises(FLUSHALL, NOTHING, TERMS, [], short)] == [Kind.UNSEEN]
    assert list(judge_promises(FAULTS["kill-web"], NOTHING, TERMS, [], short)) == []


def test_a_500_is_a_broken_promise_and_a_503_is_not() -> None:
    def told(status: int) -> list[Kind]:
        evidence = replace(NOTHING, requests=[Request(Wording("m", 3, 0.1), "queue", CHAT, 0, Outcome.UNKNOWN, status)])
        return [found.kind for found in judge_promises(FLUSHALL, evidence, TERMS, [], Cost(9, 0))]

    assert (told(500), told(503)) == ([Kind.BROKEN_PROMISE], [])


@pytest.mark.parametrize(
    ("what", "blows", "passages", "answers", "kinds"),
    [
        ("all is well", [KILL], [PASSAGE], 20, []),
        ("a blow missed", [], [PASSAGE], 20, [Kind.WEAK]),
        ("nobody was streaming", [replace(KILL, streaming=0)], [PASSAGE], 20, [Kind.WEAK]),
        ("the worker had no chat", [replace(KILL, chats_hit=0)], [PASSAGE], 20, [Kind.WEAK]),
        ("nothing was taken over", [KILL], [], 20, [Kind.WEAK]),
        ("nothing was said", [KILL], [PASSAGE], 0, [Kind.WEAK]),
        ("a process never came back", [replace(KILL, late="web not running")], [PASSAGE], 20, [Kind.STUCK]),
    ],
)
def test_the_oracle_knows_its_own_health_when(
    what: str, blows: list[Blow], passages: list[Passage], answers: int, kinds: list[Kind]
) -> None:
    assert [found.kind for found in judge_health(KILL_WORKER, 1, blows, passages, Cost(answers, 0))] == kinds


@pytest.mark.parametrize(
    ("fault", "blows", "refused", "kinds"),
    [("sigstop", 5, 0, [Kind.WEAK]), ("sigstop", 5, 1, []), ("sigstop", 4, 0, []), ("network-postgres", 5, 0, [])],
)
def test_sleepers_of_whom_none_writes_late_prove_nothing(
    fault: str, blows: int, refused: int, kinds: list[Kind]
) -> None:
    found = judge_health(
        FAULTS[fault], blows, [FROZEN] * blows, [PASSAGE] * blows, Cost(20, 9, refused=9, refused_late=refused)
    )
    assert [one.kind for one in found] == kinds
