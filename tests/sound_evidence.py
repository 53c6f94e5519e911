"""What the judge of the fault suite looks at, sound: two chats, a busy message, an interrupted answer, a chat that was
taken over. And the ways to plant one change in it.
"""

from dataclasses import replace

from devtools.chaos.audit import Move
from devtools.chaos.load.conversation import Seen
from devtools.chaos.load.journal import Outcome, Request
from devtools.chaos.load.screen import Message, Replaced, Screen, TakenBack
from devtools.chaos.load.wording import Wording
from devtools.chaos.oracle import Evidence, Kind, Terms, judge
from devtools.chaos.oracle.evidence import ChatRow, MessageRow

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
    chat_id: str,
    version: int,
    process: str,
    worker: str | None,
    attempt: int = 0,
    status: str = "running",
    history: int = 1,
) -> Move:
    runner = worker and f"runner-{worker}"
    return Move(float(version), process, chat_id, version, history, status, attempt, worker, runner)


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
        A: [
            move(A, 1, "web", None),
            move(A, 2, "chat-worker-1", "w1", 1),
            move(A, 3, "web", "w1", 1),
            move(A, 4, "chat-worker-1", "w1", 1, history=4),
            *(move(A, version, "web", "w1", 1, "interrupting", history=4) for version in (5, 6, 7)),
            move(A, 8, "chat-worker-1", "w1", 1, history=8),
            *(move(A, version, "web", "w1", 1, history=8) for version in (9, 10)),
            move(A, 11, "chat-worker-1", None, 0, "waiting", history=11),
        ],
        B: [
            move(B, 1, "web", None),
            move(B, 2, "chat-worker-1", "w1", 1),
            move(B, 3, "chat-worker-2", "w2", 2),
            move(B, 4, "chat-worker-2", None, 0, "waiting", history=4),
        ],
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
    """The moves in the place of those of B, whose row is what the last of them left."""
    a, b = evidence.chats
    b = replace(b, snapshot_version=moves[-1].snapshot_version)
    return replace(evidence, chats=[a, b], moves={**evidence.moves, B: list(moves)})


def unseen(evidence: Evidence) -> Evidence:
    """The same, with nobody watching."""
    return replace(evidence, seen=[])


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


def with_taken_back(seen: Seen, episode: tuple[int, int], live: str) -> Seen:
    return replace(seen, screen=replace(seen.screen, taken_back=[TakenBack(episode, live)]))


def with_wrong(seen: Seen) -> Seen:
    return replace(seen, screen=replace(seen.screen, wrong=["part 3 came after part 1"]))
