"""The judge of the fault suite finds what is planted, and nothing in what is sound.

Each planted fault is one change to the same sound evidence: two chats, a busy message, an interrupted answer, a chat
that was taken over.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from devtools.chaos.audit import Move, moves_of
from devtools.chaos.load.conversation import Seen
from devtools.chaos.load.journal import Outcome, Request
from devtools.chaos.load.screen import Message, Replaced, Screen
from devtools.chaos.load.wording import Wording
from devtools.chaos.oracle import Evidence, Finding, Kind, Terms, judge
from devtools.chaos.oracle.evidence import ChatRow, MessageRow, QueuedRow, Rest

TERMS = Terms(lease_ttl=6.0)
A, B = "chat-a", "chat-b"


def request(key: str, chat_id: str | None, how: str = "queue", outcome: Outcome = Outcome.OK, at: float = 0) -> Request:
    told_at = at + 1 if outcome is not Outcome.UNKNOWN else 0.0
    return Request(Wording(key, 3, 0.1), how, chat_id, at, outcome, 201, told_at)


def said(number: int, request: Request, chat_id: str, revision: int) -> MessageRow:
    return MessageRow(number, chat_id, "user", [{"type": "text", "text": request.wording.message}], revision)


def answer(number: int, request: Request, chat_id: str, revision: int, words: int = 4) -> MessageRow:
    text = " ".join(request.wording.answer.split()[:words])
    return MessageRow(number, chat_id, "assistant", [{"type": "text", "text": text}], revision, words < 4)


def seen(chat_id: str, *rows: MessageRow) -> Seen:
    screen = Screen(
        messages={str(row.id): Message(str(row.id), row.role, row.text, row.revision, row.interrupted) for row in rows},
        status="waiting",
        replaced=[Replaced(str(row.id), row.text) for row in rows if row.role == "assistant"],
    )
    return Seen(chat_id, screen, 1, quiet=True)


def move(
    chat_id: str, version: int, process: str, worker: str | None, attempt: int = 0, status: str = "running"
) -> Move:
    return Move(float(version), process, chat_id, version, 1, status, attempt, worker, worker and f"runner-{worker}")


ONE, TWO, THREE, FOUR = (
    request("m-1", A, "create"), request("m-2", A, at=10), request("m-3", A, "interrupt", at=20),
    request("m-4", B, "create"),
)  # fmt: skip
UNSENT, UNKNOWN = request("m-5", B, outcome=Outcome.UNSENT), request("m-6", None, "create", Outcome.UNKNOWN)
IN_A = [
    said(1, ONE, A, 1), answer(2, ONE, A, 4), said(3, TWO, A, 4), answer(4, TWO, A, 8, words=2), said(5, THREE, A, 8),
    answer(6, THREE, A, 11),
]  # fmt: skip
IN_B = [said(7, FOUR, B, 1), answer(8, FOUR, B, 4)]
SOUND = Evidence(
    requests=[ONE, TWO, THREE, FOUR, UNSENT, UNKNOWN],
    seen=[seen(A, *IN_A), seen(B, *IN_B)],
    chats=[ChatRow(A, "waiting", None, 11, 11, 0), ChatRow(B, "waiting", None, 4, 4, 0)],
    messages=IN_A + IN_B,
    queued=[],
    moves={
        B: [
            move(B, 1, "web", None),
            move(B, 2, "chat-worker-1", "w1", 1),
            move(B, 3, "chat-worker-2", "w2", 2),
            move(B, 4, "chat-worker-2", None, 0, "waiting"),
        ]
    },
)


def found(evidence: Evidence, terms: Terms = TERMS) -> set[tuple[Kind, str]]:
    return {(finding.kind, finding.invariant) for finding in judge(evidence, terms)}


def without(evidence: Evidence, number: int) -> Evidence:
    return replace(evidence, messages=[row for row in evidence.messages if row.id != number])


def with_row(evidence: Evidence, row: MessageRow) -> Evidence:
    """The row, in the place of the one with its id if there is one."""
    rows = {one.id: one for one in evidence.messages} | {row.id: row}
    return replace(evidence, messages=[rows[number] for number in sorted(rows)])


def with_moves(evidence: Evidence, *moves: Move) -> Evidence:
    return replace(evidence, moves={B: list(moves)})


def unseen(evidence: Evidence) -> Evidence:
    """The same, with nobody watching."""
    return replace(evidence, seen=[])


def test_sound_evidence_gives_no_finding() -> None:
    assert judge(SOUND, TERMS) == []


def test_a_request_with_an_unknown_end_may_have_happened() -> None:
    happened = with_row(with_row(SOUND, said(9, UNKNOWN, "chat-c", 1)), answer(10, UNKNOWN, "chat-c", 4))
    assert found(happened) == set()


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
    "the live text was not the beginning of what was saved": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], with_live(SOUND.seen[1], "m-4 word1m-4 word1 word2")]),
        {(Kind.UNSEEN, "I8")},
    ),
    "more was streamed than an interrupt kept": (
        lambda: replace(SOUND, seen=[with_live(SOUND.seen[0], "m-2 word1 word2", place=1), SOUND.seen[1]]),
        {(Kind.UNSEEN, "I8")},
    ),
    "the stream broke its contract": (
        lambda: replace(SOUND, seen=[SOUND.seen[0], with_wrong(SOUND.seen[1])]),
        {(Kind.UNSEEN, "I8")},
    ),
    "a version was skipped": (
        lambda: with_moves(SOUND, move(B, 1, "web", None), move(B, 3, "chat-worker-1", "w1")),
        {(Kind.UNSAFE, "I5")},
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
    "leases are left": (lambda: replace(SOUND, rest=Rest(leases=2)), {(Kind.LEFT_OVER, "I9")}),
    "transactions are left": (lambda: replace(SOUND, rest=Rest(idle_transactions=1)), {(Kind.LEFT_OVER, "I9")}),
    "keys are left": (lambda: replace(SOUND, rest=Rest(keys_without_ttl=("chatd:x",))), {(Kind.LEFT_OVER, "I9")}),
    "a process grows": (lambda: replace(SOUND, rest=Rest(grown=("web had 9 fds",))), {(Kind.LEFT_OVER, "I9")}),
    "there is no rest": (lambda: replace(SOUND, rest=Rest(came=False)), {(Kind.STUCK, "I6")}),
}


def replace_status(request: Request) -> Request:
    return Request(Wording("m-7", 3, 0.1), "queue", B, 0, Outcome.REFUSED, 404)


def replace_how(request: Request) -> Request:
    return Request(request.wording, "queue", request.chat_id, request.asked_at, request.outcome, 201, request.told_at)


def with_text(row: MessageRow, text: str) -> MessageRow:
    return replace(row, parts=[{"type": "text", "text": text}])


def with_live(seen: Seen, live: str, *, place: int = 0) -> Seen:
    shown = list(seen.screen.replaced)
    shown[place] = replace(shown[place], live=live)
    return replace(seen, screen=replace(seen.screen, replaced=shown))


def with_wrong(seen: Seen) -> Seen:
    return replace(seen, screen=replace(seen.screen, wrong=["part 3 came after part 1"]))


@pytest.mark.parametrize("what", PLANTED)
def test_the_judge_finds_that(what: str) -> None:
    plant, expected = PLANTED[what]
    assert found(plant()) == expected


def test_a_preview_that_died_with_redis_and_its_worker_is_excused_only_where_both_are_hit() -> None:
    evidence = replace(SOUND, seen=[with_live(SOUND.seen[0], "m-2 word1 word2", place=1), SOUND.seen[1]])
    assert found(evidence, replace(TERMS, loses_previews=True)) == set()


def test_a_finding_says_where_to_look() -> None:
    assert str(Finding(Kind.LOST, "I1", "message m-1 is gone", A)) == "I1 lost: message m-1 is gone (chat chat-a)"


def test_the_audit_counts_a_transaction_that_touched_a_row_twice_once() -> None:
    row = (5.0, "web", A, 1, 1, "running", 0, None, None)
    again = (5.1, "web", A, 1, 2, "running", 0, None, None)
    (moves,) = moves_of([("77", *row), ("77", *again), ("78", *row)]).values()
    assert [one.history_version for one in moves] == [2, 1]
