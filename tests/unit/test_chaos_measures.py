"""The fault suite's figures, and whether its faults happened at all: values in, values out."""

import math
from dataclasses import replace

import pytest

from devtools.chaos import options, report
from devtools.chaos.audit import Move
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.campaign import Result
from devtools.chaos.faults import FAULTS, Size
from devtools.chaos.load.journal import Outcome, Request
from devtools.chaos.load.wording import Wording
from devtools.chaos.measures import (
    Cost,
    Passage,
    Wait,
    begun_again,
    handovers,
    percentile,
    takeovers,
    unprovoked,
    waits,
)
from devtools.chaos.oracle import Evidence, Finding, Kind, Terms
from devtools.chaos.oracle.health import judge_health, judge_promises, judge_waits

CHAT = "chat"
STARTS = {"w1": 0.0, "w2": 0.0}
KILL = Blow("kill a chat worker", 10.0, 10.0, 20, Effect.KILLED, ("w1",), 1)
FROZEN = Blow("stop a chat worker", 10.0, 18.0, 20, Effect.FROZEN, ("w1",), 1)
TOLD = Blow("tell a chat worker to end", 10.0, 10.0, 20, Effect.TOLD, ("w1",), 1)
TERMS = Terms(lease_ttl=6.0)
NOTHING = Evidence([], [], [], [], [])


def move(at: float, worker: str | None, attempt: int = 1, status: str = "running", history: int = 1) -> Move:
    return Move(at, "chat-worker", CHAT, 1, history, status, attempt, worker, worker and f"runner-of-{worker}")


TAKEN = {CHAT: [move(9.0, "w1"), move(12.5, "w2", 2), move(15.0, None, 0, "waiting", 2)]}


def test_a_takeover_lasts_from_the_kill_to_the_next_owner() -> None:
    assert takeovers(TAKEN, [KILL], STARTS) == [Passage(CHAT, KILL, 2.5)]
    assert handovers(TAKEN, [KILL], STARTS) == []


def test_a_hand_over_lasts_from_the_signal_to_the_next_owner() -> None:
    moves = {CHAT: [move(9.0, "w1"), move(10.4, None), move(10.6, "w2", 2)]}
    (passage,) = handovers(moves, [TOLD], STARTS)
    assert passage.took == pytest.approx(0.6)
    assert passage.let_go
    assert takeovers(moves, [TOLD], STARTS) == []


@pytest.mark.parametrize(
    ("why", "moves"),
    [
        ("it belonged to somebody else", [move(9.0, "w2"), move(12.0, None, 0, "waiting", 2)]),
        ("it had just ended", [move(9.0, None, 0, "waiting", 2)]),
        ("its last commit was under way", [move(9.0, "w1"), move(10.01, None, 0, "waiting", 2)]),
        ("a person stopped it", [move(9.0, "w1"), move(11.0, None, 0, "running", 3), move(12.0, "w2", 1, history=3)]),
        ("it began later", [move(11.0, "w1")]),
    ],
)
def test_no_takeover_is_counted_because(why: str, moves: list[Move]) -> None:
    assert takeovers({CHAT: moves}, [KILL], STARTS) == []


def test_a_chat_that_nobody_takes_is_a_takeover_that_never_happened() -> None:
    assert takeovers({CHAT: [move(9.0, "w1")]}, [KILL], STARTS) == [Passage(CHAT, KILL, None)]


@pytest.mark.parametrize(
    ("who_else_is_hit", "starts", "alone"),
    [
        ([], STARTS, 0.0),
        ([replace(KILL, worker_ids=("w2",))], {**STARTS, "w3": 14.0}, 4.0),
        ([replace(KILL, worker_ids=("w2",), at=9.0)], {**STARTS, "w3": 9.5}, 0.0),
        ([replace(FROZEN, worker_ids=("w2",), at=9.0)], STARTS, 8.0),
        ([replace(TOLD, worker_ids=("w2",), at=11.0)], STARTS, 0.0),
    ],
)
def test_how_long_nobody_was_there_to_take_over(
    who_else_is_hit: list[Blow], starts: dict[str, float], alone: float
) -> None:
    (passage,) = takeovers({CHAT: [move(9.0, "w1")]}, [KILL, *who_else_is_hit], starts)
    assert passage.alone == alone


def test_who_is_told_to_end_before_the_lease_expires_was_there_in_vain() -> None:
    """It may not take the chat yet, and its successor has to start first."""
    moves = {CHAT: [move(9.0, "w1"), move(16.0, "w3", 2)]}
    (passage,) = takeovers(moves, [FROZEN, replace(TOLD, worker_ids=("w2",), at=11.0)], {**STARTS, "w3": 14.0})
    assert (passage.took, passage.alone) == (16.0 - FROZEN.at, 3.0)


QUEUED = move(3.0, None, 0, history=1)


@pytest.mark.parametrize(
    ("what", "moves", "expected"),
    [
        ("it was taken", [move(1.0, None, 0), QUEUED, move(4.0, "w1")], [Wait(CHAT, 1.0, 3.0)]),
        ("it was stopped", [move(1.0, None, 0), move(4.0, None, 0, "waiting", 2)], [Wait(CHAT, 1.0, 3.0)]),
        ("nobody took it", [move(1.0, "w1"), move(4.0, None)], [Wait(CHAT, 4.0, math.inf)]),
        ("it had an owner", [move(1.0, "w1"), move(99.0, "w2", 2)], []),
        ("it had nothing to do", [move(1.0, None, 0, "waiting"), move(99.0, "w2")], []),
        (
            "twice",
            [move(1.0, None), move(2.0, "w1"), move(5.0, None), move(7.0, "w2", 2)],
            [Wait(CHAT, 1.0, 1.0), Wait(CHAT, 5.0, 2.0)],
        ),
    ],
)
def test_how_long_a_chat_was_runnable_and_nobodys(what: str, moves: list[Move], expected: list[Wait]) -> None:
    assert waits({CHAT: moves}, [], STARTS) == expected


def test_a_wait_without_any_chat_worker_says_how_long_that_was() -> None:
    both = replace(KILL, at=5.0, worker_ids=("w1", "w2"))
    (wait,) = waits({CHAT: [move(4.0, None), move(16.0, "w3")]}, [both], {**STARTS, "w3": 14.0})
    assert (wait.lasted, wait.alone) == (12.0, 9.0)


def test_a_chat_taken_from_a_worker_that_nothing_had_happened_to_is_unprovoked() -> None:
    assert unprovoked(TAKEN, []) == 1
    assert unprovoked(TAKEN, [KILL]) == 0


def test_an_answer_costs_as_much_as_it_was_begun() -> None:
    moves = {CHAT: [move(1, "w1", 1), move(2, "w2", 2), move(3, "w1", 3), move(4, "w1", 1, history=4)]}
    assert begun_again(moves) == 2


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)
    assert percentile([], 50) is None


# --- promises and health -----------------------------------------------------------------------------------------

KILL_WORKER, FLUSHALL = FAULTS["kill-worker"], FAULTS["flushall"]


def promises(passage: Passage) -> list[Kind]:
    return [found.kind for found in judge_promises(KILL_WORKER, NOTHING, TERMS, [], [passage], Cost(1, 1))]


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
    assert [f.kind for f in judge_promises(FLUSHALL, NOTHING, TERMS, [], [], Cost(9, 1))] == [Kind.BROKEN_PROMISE]
    assert list(judge_promises(FLUSHALL, NOTHING, TERMS, [], [], Cost(9, 0))) == []


def test_a_chat_taken_from_a_sound_worker_is_a_broken_promise() -> None:
    found = judge_promises(KILL_WORKER, NOTHING, TERMS, [], [], Cost(9, 1, unprovoked=1))
    assert [one.kind for one in found] == [Kind.BROKEN_PROMISE]


@pytest.mark.parametrize(("outage", "kinds"), [(1.0, [Kind.BROKEN_PROMISE] * 2), (3.5, [])])
def test_a_database_that_is_away_for_half_a_lease_may_cost_answers(outage: float, kinds: list[Kind]) -> None:
    away = Blow("crash Postgres", 10.0, 10.0 + outage, 20, Effect.AWAY)
    crash = FAULTS["postgres-immediate"]
    found = judge_promises(crash, NOTHING, TERMS, [away], [], Cost(9, 1, unprovoked=1))
    assert [one.kind for one in found] == kinds


def test_an_answer_that_was_not_seen_whole_is_a_finding_where_nobody_was_to_notice() -> None:
    short = Cost(9, 0, previews=9, previews_whole=8)
    assert [one.kind for one in judge_promises(FLUSHALL, NOTHING, TERMS, [], [], short)] == [Kind.UNSEEN]
    assert list(judge_promises(FAULTS["kill-web"], NOTHING, TERMS, [], [], short)) == []


def test_a_500_is_a_broken_promise_and_a_503_is_not() -> None:
    def told(status: int) -> list[Kind]:
        evidence = replace(NOTHING, requests=[Request(Wording("m", 3, 0.1), "queue", CHAT, 0, Outcome.UNKNOWN, status)])
        return [found.kind for found in judge_promises(FLUSHALL, evidence, TERMS, [], [], Cost(9, 0))]

    assert (told(500), told(503)) == ([Kind.BROKEN_PROMISE], [])


PASSAGE = Passage(CHAT, KILL, 2.0)


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
    assert [found.kind for found in judge_health(KILL_WORKER, 1, blows, passages, answers)] == kinds


# --- the report --------------------------------------------------------------------------------------------------

RESULT = Result(
    KILL_WORKER, runs=2, blows=[KILL], takeovers=[PASSAGE, Passage(CHAT, KILL, 9.0), Passage(CHAT, FROZEN, 7.0)],
    findings=[Finding(Kind.LOST, "I1", "gone", CHAT), Finding(Kind.WEAK, "I10", "missed")], cost=Cost(40, 3),
)  # fmt: skip


def test_the_json_object_has_what_the_contract_names() -> None:
    figures = report.summary([RESULT], seed=7)
    named = {name: figures[name] for name in ("runs", "lost", "doubled", "malformed", "stuck", "seed", "violations")}
    assert named == {
        "runs": 2, "lost": 1, "doubled": 0, "malformed": 0, "stuck": 0, "seed": 7, "violations": 2,
    }  # fmt: skip
    assert (figures["takeover_p50_s"], figures["takeover_p99_s"]) == (2.0, 9.0)
    assert figures["faults"]["kill-worker"]["violations"] == ["I1 lost: gone (chat chat)", "I10 weak: missed"]


def test_an_aim_that_was_missed_is_said() -> None:
    assert report.aims([RESULT]) == [
        "kill-worker: p50 7.00 s; the aim is 3 s", "kill-worker: p99 9.00 s; the aim is 6 s",
    ]  # fmt: skip


def test_the_table_has_a_line_for_each_fault() -> None:
    head, line = report.table([RESULT]).splitlines()
    assert len(head) == len(line)
    assert line.split()[:8] == ["kill-worker", "2", "0", "40", "1", "0", "0", "0"]


def test_runs_and_size_are_as_asked() -> None:
    assert options.parse(["--fault", "mixed", "--runs", "5"]).runs_of(FAULTS["mixed"]) == 5
    assert options.parse(["--full"]).runs_of(FAULTS["mixed"]) == FAULTS["mixed"].runs_in(Size.FULL)
    assert options.parse(["--short"]).faults == tuple(one for one in FAULTS.values() if one.runs_in(Size.SHORT))
    assert options.parse([]).faults == tuple(FAULTS.values())
    assert options.parse(["--seed", "4"]).seed == 4


@pytest.mark.parametrize("arguments", [["--fault", "rain"], ["--runs", "0"], ["--short", "--full"]])
def test_nonsense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(arguments)
