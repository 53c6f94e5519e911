"""The judge of the fault suite finds every planted change of a chat's row that a fence, a lock or a version should have
refused: I4, I5, I7, from the audit.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from devtools.chaos.audit import moves_of
from devtools.chaos.oracle import Evidence, Kind
from tests.sound_evidence import SOUND, A, B, found, move, with_moves

PLANTED: dict[str, tuple[Callable[[], Evidence], set[tuple[Kind, str]]]] = {
    "a version was skipped": (
        lambda: with_moves(SOUND, move(B, 1, "web", None), move(B, 3, "chat-worker-1", "w1")),
        {(Kind.UNSAFE, "I5")},
    ),
    "the history version went down": (
        lambda: with_moves(SOUND, move(B, 1, "web", None, history=3), move(B, 2, "web", None, history=2)),
        {(Kind.UNSAFE, "I5")},
    ),
    "the queue version went down": (
        lambda: with_moves(SOUND, replace(move(B, 1, "web", None), queue_version=2), move(B, 2, "web", None)),
        {(Kind.UNSAFE, "I5")},
    ),
    "an attempt was forgotten": (
        lambda: with_moves(
            SOUND,
            move(B, 1, "chat-worker-1", "w1", 1),
            move(B, 2, "chat-worker-2", "w2", 2),
            move(B, 3, "chat-worker-2", "w2", 1),
        ),
        {(Kind.UNSAFE, "I4")},
    ),
    "a row changed and no transaction of the audit did it": (
        lambda: replace(SOUND, chats=[SOUND.chats[0], replace(SOUND.chats[1], snapshot_version=5)]),
        {(Kind.UNSAFE, "I5")},
    ),
    "the audit did not see a chat": (
        lambda: replace(SOUND, moves={A: SOUND.moves[A]}),
        {(Kind.WEAK, "I10")},
    ),
    "two transactions made the same version": (
        lambda: with_moves(SOUND, move(B, 1, "web", None), move(B, 1, "web", None)),
        {(Kind.UNSAFE, "I5")},
    ),
    "a worker wrote to another worker's chat": (
        lambda: with_moves(
            SOUND,
            move(B, 1, "web", None),
            move(B, 2, "chat-worker-1", "w1", 1),
            move(B, 3, "chat-worker-2", "w2", 2),
            move(B, 4, "chat-worker-1", "w2", 2, "waiting"),
        ),
        {(Kind.UNSAFE, "I4")},
    ),
    "a worker wrote to a chat that it had given away": (
        lambda: with_moves(
            SOUND,
            move(B, 1, "web", None),
            move(B, 2, "chat-worker-1", "w1", 1),
            move(B, 3, "chat-worker-1", None, 1),
            move(B, 4, "chat-worker-1", None, 1, "waiting"),
        ),
        {(Kind.UNSAFE, "I4")},
    ),
    "a runner came back after another one": (
        lambda: with_moves(
            SOUND,
            move(B, 1, "chat-worker-1", "w1", 1),
            move(B, 2, "chat-worker-2", "w2", 2),
            move(B, 3, "chat-worker-1", "w1", 2),
        ),
        {(Kind.UNSAFE, "I4")},
    ),
    "an answer is begun for ever": (
        lambda: with_moves(SOUND, move(B, 1, "chat-worker-1", "w1", 26)),
        {(Kind.STUCK, "I7")},
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_the_judge_finds_that(what: str) -> None:
    plant, expected = PLANTED[what]
    assert found(plant()) == expected


def test_the_audit_counts_a_transaction_that_touched_a_row_twice_once() -> None:
    row = (5.0, "web", A, 1, 1, "running", 0, None, None)
    again = (5.1, "web", A, 1, 2, "running", 0, None, None)
    (moves,) = moves_of([("77", *row), ("77", *again), ("78", *row)]).values()
    assert [one.history_version for one in moves] == [2, 1]
