"""The judge of the fault suite finds what is planted, and nothing in what is sound.

Each planted fault is one change to the same sound evidence (`tests/sound_evidence.py`). What the audit shows is in
`test_chaos_owners.py`, whether the faults happened at all in `test_chaos_measures.py`.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from devtools.chaos.load.journal import Outcome
from devtools.chaos.oracle import Evidence, Finding, Kind, judge
from devtools.chaos.oracle.evidence import QueuedRow, Rest
from tests.sound_evidence import (
    FOUR,
    IN_B,
    ONE,
    SOUND,
    TERMS,
    THREE,
    TWO,
    UNKNOWN,
    UNSENT,
    A,
    B,
    answer,
    found,
    replace_how,
    replace_status,
    request,
    said,
    seen,
    unseen,
    with_live,
    with_row,
    with_taken_back,
    with_text,
    with_wrong,
    without,
)


def test_sound_evidence_gives_no_finding() -> None:
    assert judge(SOUND, TERMS) == []


def test_a_request_with_an_unknown_end_may_have_happened() -> None:
    happened = with_row(with_row(SOUND, said(9, UNKNOWN, "chat-c", 1)), answer(10, UNKNOWN, "chat-c", 4))
    assert found(happened) == set()


def with_unknown(evidence: Evidence) -> Evidence:
    """The person of B said one thing more, was not told whether it was heard, and left."""
    unknown = request("m-8", B, outcome=Outcome.UNKNOWN, at=5)
    evidence = replace(evidence, requests=[*evidence.requests, unknown])
    return with_row(with_row(evidence, said(9, unknown, B, 5)), answer(10, unknown, B, 8))


def test_a_message_that_nobody_knows_to_have_been_heard_need_not_be_shown_nor_its_answer() -> None:
    assert found(with_unknown(SOUND)) == set()


PLANTED: dict[str, tuple[Callable[[], Evidence], set[tuple[Kind, str]]]] = {
    "an acknowledged message is gone": (
        lambda: unseen(without(without(SOUND, 7), 8)),
        {(Kind.LOST, "I1")},
    ),
    "the chat of an acknowledged message is gone": (
        lambda: unseen(replace(without(without(SOUND, 7), 8), chats=SOUND.chats[:1])),
        {(Kind.LOST, "I1")},
    ),
    "a client was told that its chat is not there": (
        lambda: replace(SOUND, requests=[*SOUND.requests, replace_status(UNSENT)]),
        {(Kind.LOST, "I1")},
    ),
    "a message is there twice": (
        lambda: with_row(with_row(unseen(SOUND), said(9, FOUR, B, 5)), answer(10, FOUR, B, 7)),
        {(Kind.DOUBLED, "I1")},
    ),
    "a message is in history and in the queue": (
        lambda: replace(SOUND, queued=[QueuedRow(1, B, [{"type": "text", "text": FOUR.wording.message}])]),
        {(Kind.DOUBLED, "I1"), (Kind.STUCK, "I6")},
    ),
    "a message that was never sent is there": (
        lambda: with_row(with_row(unseen(SOUND), said(9, UNSENT, B, 5)), answer(10, UNSENT, B, 7)),
        {(Kind.DOUBLED, "I1")},
    ),
    "a message that nobody asked for is there": (
        lambda: with_row(unseen(SOUND), said(9, request("stranger", B), B, 5)),
        {(Kind.DOUBLED, "I2")},
    ),
    "a message is in another chat": (
        lambda: with_row(unseen(SOUND), replace(IN_B[0], chat_id=A)),
        {(Kind.MALFORMED, "I2"), (Kind.MALFORMED, "I1"), (Kind.STUCK, "I6"), (Kind.DOUBLED, "I3")},
    ),
    "messages are in the wrong order": (
        lambda: unseen(with_row(with_row(SOUND, said(1, THREE, A, 1)), said(5, ONE, A, 8))),
        {(Kind.MALFORMED, "I1"), (Kind.MALFORMED, "I3")},
    ),
    "an answer is there twice": (
        lambda: with_row(unseen(SOUND), answer(9, FOUR, B, 5)),
        {(Kind.DOUBLED, "I3")},
    ),
    "an answer ends in the middle": (
        lambda: unseen(with_row(SOUND, replace(answer(8, FOUR, B, 4, words=2), interrupted=False))),
        {(Kind.MALFORMED, "I3")},
    ),
    "an answer holds a beginning twice": (
        lambda: unseen(with_row(SOUND, with_text(IN_B[1], "m-4 word1" + FOUR.wording.answer))),
        {(Kind.MALFORMED, "I3")},
    ),
    "an answer belongs to another message": (
        lambda: unseen(with_row(SOUND, with_text(IN_B[1], ONE.wording.answer))),
        {(Kind.MALFORMED, "I3")},
    ),
    "a message has no parts": (
        lambda: unseen(with_row(SOUND, replace(IN_B[1], parts=[]))),
        {(Kind.MALFORMED, "I3")},
    ),
    "a message has a role that nobody here has": (
        lambda: unseen(with_row(SOUND, replace(IN_B[1], role="tool"))),
        {(Kind.MALFORMED, "I3")},
    ),
    "an answer was cut and nobody had interrupted it": (
        lambda: unseen(with_row(SOUND, answer(8, FOUR, B, 4, words=2))),
        {(Kind.LOST, "I3")},
    ),
    "an answer was cut by an interrupt that was asked for earlier": (
        lambda: unseen(with_row(with_row(SOUND, answer(4, TWO, A, 8)), answer(6, THREE, A, 11, words=2))),
        {(Kind.LOST, "I3")},
    ),
    "two answers were cut by one interrupt": (
        lambda: unseen(with_row(SOUND, answer(2, ONE, A, 4, words=2))),
        {(Kind.LOST, "I3")},
    ),
    "an answer was left out and nobody had interrupted it": (
        lambda: unseen(without(replace(SOUND, requests=[replace_how(THREE), *SOUND.requests[:2], FOUR, UNKNOWN]), 4)),
        {(Kind.LOST, "I3")},
    ),
    "a message has no answer": (
        lambda: unseen(without(SOUND, 8)),
        {(Kind.STUCK, "I6")},
    ),
    "a chat runs and nobody works on it": (
        lambda: replace(SOUND, chats=[SOUND.chats[0], replace(SOUND.chats[1], status="running")]),
        {(Kind.STUCK, "I6")},
    ),
    "a chat ended in an error": (
        lambda: replace(SOUND, chats=[SOUND.chats[0], replace(SOUND.chats[1], status="error")]),
        {(Kind.STUCK, "I7")},
    ),
    "somebody waits for ever": (
        lambda: replace(SOUND, seen=[replace(SOUND.seen[0], quiet=False), SOUND.seen[1]]),
        {(Kind.STUCK, "I6")},
    ),
    "a message that was shown is gone": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], seen(B, *IN_B, answer(99, FOUR, B, 9))]),
        {(Kind.LOST, "I8")},
    ),
    "a message is not what was shown": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], seen(B, IN_B[0], with_text(IN_B[1], "m-4 word1"))]),
        {(Kind.UNSEEN, "I8")},
    ),
    "a message was never shown": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], seen(B, IN_B[0])]),
        {(Kind.UNSEEN, "I8")},
    ),
    "a message was never shown in a chat with another one of which nobody knows": (
        lambda: replace(with_unknown(SOUND), seen=[SOUND.seen[0], seen(B, IN_B[0])]),
        {(Kind.UNSEEN, "I8")},
    ),
    "the live text was not the beginning of what was saved": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], with_live(SOUND.seen[1], "m-4 word1m-4 word1 word2")]),
        {(Kind.UNSEEN, "I8")},
    ),
    "more was streamed than an interrupt kept": (
        lambda: replace(SOUND, seen=[with_live(SOUND.seen[0], "m-2 word1 word2", place=1), SOUND.seen[1]]),
        {(Kind.UNSEEN, "I8")},
    ),
    "the live text went away and nothing came in its place": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], with_taken_back(SOUND.seen[1], (4, 1), "m-9 word1")]),
        {(Kind.UNSEEN, "I8")},
    ),
    "the live text of the last attempt went away and less of it was saved": (
        lambda: replace(SOUND, seen=[with_taken_back(SOUND.seen[0], (4, 1), "m-2 word1 word2"), SOUND.seen[1]]),
        {(Kind.UNSEEN, "I8")},
    ),
    "the stream broke its contract": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], with_wrong(SOUND.seen[1])]),
        {(Kind.UNSEEN, "I8")},
    ),
    "leases are left": (lambda: replace(SOUND, rest=Rest(leases=2)), {(Kind.LEFT_OVER, "I9")}),
    "transactions are left": (lambda: replace(SOUND, rest=Rest(idle_transactions=1)), {(Kind.LEFT_OVER, "I9")}),
    "keys are left": (lambda: replace(SOUND, rest=Rest(keys_without_ttl=("chatd:x",))), {(Kind.LEFT_OVER, "I9")}),
    "a process grows": (lambda: replace(SOUND, rest=Rest(grown=("web had 9 threads",))), {(Kind.LEFT_OVER, "I9")}),
    "there is no rest": (lambda: replace(SOUND, rest=Rest(came=False)), {(Kind.STUCK, "I6")}),
}


@pytest.mark.parametrize("what", PLANTED)
def test_the_judge_finds_that(what: str) -> None:
    plant, expected = PLANTED[what]
    assert found(plant()) == expected


def test_a_preview_that_died_with_redis_and_its_worker_is_excused_only_where_both_are_hit() -> None:
    evidence = replace(SOUND, seen=[with_live(SOUND.seen[0], "m-2 word1 word2", place=1), SOUND.seen[1]])
    assert found(evidence, replace(TERMS, loses_previews=True)) == set()


@pytest.mark.parametrize(
    ("why", "place", "episode", "live"),
    [
        ("it was begun again", 1, (1, 1), "m-4 and what this attempt said instead"),
        ("its answer was cut no earlier", 0, (4, 1), "m-2 word1"),
    ],
)
def test_a_live_text_may_be_taken_back_because(why: str, place: int, episode: tuple[int, int], live: str) -> None:
    shown = list(SOUND.seen)
    shown[place] = with_taken_back(shown[place], episode, live)
    assert found(replace(SOUND, seen=shown)) == set()


def test_a_live_text_that_died_with_redis_and_its_worker_may_be_taken_back_only_where_both_are_hit() -> None:
    evidence, _ = PLANTED["the live text went away and nothing came in its place"]
    assert found(evidence(), replace(TERMS, loses_previews=True)) == set()


def test_a_finding_says_where_to_look() -> None:
    assert str(Finding(Kind.LOST, "I1", "message m-1 is gone", A)) == "I1 lost: message m-1 is gone (chat chat-a)"
