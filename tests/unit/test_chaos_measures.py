"""The fault suite's figures: moves and blows in, values out."""

import math
from dataclasses import replace

import pytest

from devtools.chaos import provocation
from devtools.chaos.audit import Move, starts_of
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.faults import Profile
from devtools.chaos.measures import (
    Passage,
    Wait,
    begun_again,
    by_itself,
    handovers,
    percentile,
    refused_late,
    takeovers,
    unprovoked,
    waits,
)
from devtools.chaos.notes import Refusal
from tests.blows import AWAY, CHAT, FROZEN, KILL, LEASE_TTL, STARTS, TOLD, move

TAKEN = {CHAT: [move(9.0, "w1"), move(12.5, "w2", 2), move(15.0, None, 0, "waiting", 2)]}


def test_a_worker_that_an_earlier_fault_killed_is_not_there_to_take_over() -> None:
    rows = [("dead", 5.0), ("w1", 6.0), ("w2", 10.5)]
    assert starts_of(rows, since=9.0, there={"w1"}) == {"w1": 6.0, "w2": 10.5}
    (passage,) = takeovers({CHAT: [move(9.0, "w1")]}, [KILL], starts_of(rows, since=9.0, there={"w1"}))
    assert passage.alone == 0.5


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
    assert unprovoked(TAKEN, [], LEASE_TTL) == 1
    assert unprovoked(TAKEN, [KILL], LEASE_TTL) == 0


@pytest.mark.parametrize(
    ("what", "blow", "taken_at", "count"),
    [
        ("it is killed later", replace(KILL, at=13.0), 12.5, 1),
        ("it was killed long ago", KILL, 99.0, 0),
        ("it was told to end long ago", TOLD, 99.0, 0),
        ("it stands still", FROZEN, 17.0, 0),
        ("it has just woken up", FROZEN, 28.9, 0),
        ("it woke up long ago", FROZEN, 29.1, 1),
        ("its commits were in doubt", replace(FROZEN, effect=Effect.NONE), 28.9, 0),
        ("its commits were in doubt long ago", replace(FROZEN, effect=Effect.NONE), 29.1, 1),
        ("another one is killed", replace(KILL, worker_ids=("w2",)), 12.5, 1),
        ("the database was away for long", AWAY, 22.9, 0),
        ("the database was away for long, and long ago", AWAY, 23.1, 1),
        ("the database was away for a moment", replace(AWAY, until=11.5), 12.5, 1),
    ],
)
def test_a_blow_is_a_reason_to_take_a_chat_only_where_and_when_it_hit(
    what: str, blow: Blow, taken_at: float, count: int
) -> None:
    assert unprovoked({CHAT: [move(9.0, "w1"), move(taken_at, "w2", 2)]}, [blow], LEASE_TTL) == count


def test_an_outage_that_every_lease_survives_ends_before_a_worker_gives_up() -> None:
    from chatworker.leases import OWN_TICK_AFTER
    from chatworker.worker import LEASE_MARGIN

    assert (provocation.MARGIN, provocation.OWN_TICK_AFTER) == (LEASE_MARGIN, OWN_TICK_AFTER)
    assert float(Profile("any", lease_ttl=6.0).settings["CHATD_HEARTBEAT_INTERVAL"]) == 6.0 / provocation.HEARTBEATS
    assert provocation.survived_outage(6.0) == pytest.approx(1.55)  # 4.5 s after the last renewal, which is 1.95 s old
    assert provocation.survived_outage(20.0) == pytest.approx(10.5)


def test_an_answer_costs_as_much_as_it_was_begun() -> None:
    moves = {CHAT: [move(1, "w1", 1), move(2, "w2", 2), move(3, "w1", 3), move(4, "w1", 1, history=4)]}
    assert begun_again(moves) == 2
    assert begun_again(moves, [(1.5, 2.5)]) == begun_again(moves, [(2.5, 9.0)]) == 1


def test_an_answer_is_begun_again_by_itself_where_its_runner_stays_the_same() -> None:
    first = [move(1, "w1", 0), move(2, "w1", 1)]
    assert by_itself({CHAT: first}) == 0
    assert by_itself({CHAT: [*first, move(3, "w2", 2), move(4, "w2", 1, history=4)]}) == 0
    assert by_itself({CHAT: [*first, move(3, "w1", 2), move(4, "w1", 2), move(5, "w1", 3)]}) == 2


def test_a_write_is_late_where_somebody_who_stood_still_wakes_up() -> None:
    def late(at: float, blow: Blow = FROZEN) -> int:
        return refused_late([Refusal(at, "chat-worker-1")], [blow], LEASE_TTL)

    assert (late(18.0), late(23.9)) == (1, 1)
    assert (late(15.9), late(24.1), late(18.0, KILL)) == (0, 0, 0), "of somebody who lost its chat for another reason"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)
    assert percentile([], 50) is None
