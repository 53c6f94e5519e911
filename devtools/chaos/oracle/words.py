"""I1, I2, I3 and I8: what was said is there once, nothing else is, in good form, and as people saw it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from devtools.chaos.audit import Move
from devtools.chaos.load.conversation import Seen
from devtools.chaos.load.journal import Outcome, Request
from devtools.chaos.load.wording import key_of
from devtools.chaos.oracle.evidence import Evidence, Finding, Kind, MessageRow, Terms

ROLES = frozenset({"user", "assistant"})
"""The load calls no tools."""


def judge_words(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    yield from _every_request(evidence)
    yield from _no_strangers(evidence)
    histories: dict[str, list[MessageRow]] = defaultdict(list)
    for row in evidence.messages:
        histories[row.chat_id].append(row)
    requests = {request.key: request for request in evidence.requests}
    for chat in evidence.chats:
        yield from _form(chat.id, histories[chat.id], requests)
        yield from _order(chat.id, histories[chat.id], requests)
    for seen in evidence.seen:
        yield from _as_seen(seen, histories[seen.chat_id], terms)
        if seen.quiet:
            yield from _never_shown(seen, histories[seen.chat_id], requests)
        if not terms.loses_previews:
            yield from _taken_back(seen, histories[seen.chat_id], evidence.moves.get(seen.chat_id, ()))


def _every_request(evidence: Evidence) -> Iterator[Finding]:
    """I1: acknowledged, once; refused, never; unknown, at most once."""
    places: Counter[str] = Counter(key_of(row.text) for row in evidence.messages if row.role == "user")
    places.update(key_of(row.text) for row in evidence.queued)
    chats = {row.id for row in evidence.chats}
    for request in evidence.requests:
        count = places[request.key]
        if request.outcome is Outcome.OK and not count:
            yield Finding(Kind.LOST, "I1", f"message {request.key} was acknowledged and is not there", request.chat_id)
        if request.outcome in (Outcome.REFUSED, Outcome.UNSENT) and count:
            yield Finding(Kind.DOUBLED, "I1", f"message {request.key} was {request.outcome} and is there")
        if count > 1:
            yield Finding(Kind.DOUBLED, "I1", f"message {request.key} is there {count} times", request.chat_id)
        if request.outcome is Outcome.OK and request.chat_id not in chats:
            yield Finding(Kind.LOST, "I1", f"the chat of message {request.key} is gone", request.chat_id)
        if request.status == 404:
            yield Finding(Kind.LOST, "I1", f"message {request.key} was told that its chat is not there")


def _no_strangers(evidence: Evidence) -> Iterator[Finding]:
    """I2: nothing is said that nobody asked to say, and nothing in another chat than it was said to."""
    requests = {request.key: request for request in evidence.requests}
    said = [(row.chat_id, row.text) for row in evidence.messages if row.role == "user"]
    for chat_id, text in said + [(row.chat_id, row.text) for row in evidence.queued]:
        request = requests.get(key_of(text))
        if request is None or request.wording.message != text:
            yield Finding(Kind.DOUBLED, "I2", f"nobody asked for {text[:60]!r}", chat_id)
        elif request.chat_id not in (None, chat_id):
            yield Finding(Kind.MALFORMED, "I2", f"message {request.key} belongs to chat {request.chat_id}", chat_id)


def _form(chat_id: str, history: Sequence[MessageRow], requests: dict[str, Request]) -> Iterator[Finding]:
    """I3: each message and its whole answer, in turn; cut or left out only where somebody interrupted."""
    cut: list[Request] = []
    asked: Request | None = None
    for row in history:
        if row.role not in ROLES:
            yield Finding(Kind.MALFORMED, "I3", f"message {row.id} has the role {row.role}", chat_id)
        if not row.parts or not row.text:
            yield Finding(Kind.MALFORMED, "I3", f"message {row.id} is empty", chat_id)
        if row.role == "user":
            cut += [asked] if asked is not None else []
            asked = requests.get(key_of(row.text))
            continue
        if asked is None:
            yield Finding(
                Kind.DOUBLED, "I3", f"answer {row.id} follows no message of its own: {row.text[:60]!r}", chat_id
            )
            continue
        whole = asked.wording.answer
        if row.interrupted and whole.startswith(row.text):
            cut.append(asked)
        elif row.text != whole:
            what = f"answer {row.id} to {asked.key} is {row.text[-60:]!r} at its end, not {whole[-60:]!r}"
            yield Finding(Kind.MALFORMED, "I3", what, chat_id)
        asked = None
    yield from _cut_by_somebody(chat_id, cut, requests)
    if asked is not None:
        yield Finding(Kind.STUCK, "I6", f"message {asked.key} has no answer", chat_id)


def _cut_by_somebody(chat_id: str, cut: Sequence[Request], requests: dict[str, Request]) -> Iterator[Finding]:
    """I3: for each answer that was cut an interrupt of its own, which was asked for later than the answer itself."""
    interrupts = sorted(
        request.asked_at
        for request in requests.values()
        if request.how == "interrupt"
        and request.chat_id == chat_id
        and request.outcome in (Outcome.OK, Outcome.UNKNOWN)
    )
    for asked in sorted(cut, key=lambda request: request.asked_at):
        own = next((at for at in interrupts if at > asked.asked_at), None)
        if own is None:
            what = f"the answer to {asked.key} was cut or left out, and nobody interrupted it"
            yield Finding(Kind.LOST, "I3", what, chat_id)
        else:
            interrupts.remove(own)


def _order(chat_id: str, history: Sequence[MessageRow], requests: dict[str, Request]) -> Iterator[Finding]:
    """I1: what was acknowledged before something else was asked comes before it."""
    latest: Request | None = None
    for row in history:
        request = requests.get(key_of(row.text)) if row.role == "user" else None
        if request is None:
            continue
        if latest is not None and request.told_at and request.told_at < latest.asked_at:
            what = f"message {request.key} comes after {latest.key}, which was asked later"
            yield Finding(Kind.MALFORMED, "I1", what, chat_id)
        if latest is None or request.asked_at > latest.asked_at:
            latest = request


def _never_shown(seen: Seen, history: Sequence[MessageRow], requests: dict[str, Request]) -> Iterator[Finding]:
    """I8: whoever left a quiet chat has seen all of it; but for what they could not know that they had said."""
    unseen = {
        str(row.id)
        for row in history
        if (request := requests.get(key_of(row.text))) is None or request.outcome is not Outcome.UNKNOWN
    } - seen.screen.messages.keys()
    if unseen:
        yield Finding(Kind.UNSEEN, "I8", f"messages {sorted(unseen)} were never shown", seen.chat_id)


def _as_seen(seen: Seen, history: Sequence[MessageRow], terms: Terms) -> Iterator[Finding]:
    """I8: every message that a person saw is there as they saw it; the live text was the beginning of what is saved."""
    stored = {str(row.id): row for row in history}
    for wrong in seen.screen.wrong:
        yield Finding(Kind.UNSEEN, "I8", wrong, seen.chat_id)
    for shown in seen.screen.messages.values():
        row = stored.get(shown.id)
        if row is None:
            yield Finding(Kind.LOST, "I8", f"message {shown.id} was shown and is not there", seen.chat_id)
        elif (row.role, row.text, row.interrupted) != (shown.role, shown.text, shown.interrupted):
            yield Finding(Kind.UNSEEN, "I8", f"message {shown.id} is not what was shown", seen.chat_id)
    for replaced in seen.screen.replaced:
        row = stored.get(replaced.message_id)
        if row is not None and not row.text.startswith(replaced.live):
            if terms.loses_previews and row.interrupted and replaced.live.startswith(row.text):
                continue
            what = f"live text {replaced.live[-60:]!r} became answer {row.id}, which is {row.text[-60:]!r} at its end"
            yield Finding(Kind.UNSEEN, "I8", what, seen.chat_id)


def _taken_back(seen: Seen, history: Sequence[MessageRow], moves: Sequence[Move]) -> Iterator[Finding]:
    """I8: a live text goes away because the answer is begun again, or because it is saved, cut off no earlier."""
    for taken in seen.screen.taken_back:
        history_version, attempt = taken.episode
        begun_again = any(move.history_version == history_version and move.attempt > attempt for move in moves)
        saved = [row.text for row in history if row.role == "assistant" and key_of(row.text) == key_of(taken.live)]
        if not begun_again and not any(text.startswith(taken.live) for text in saved):
            what = f"live text {taken.live[-60:]!r} of episode {taken.episode} was taken back; nobody began it again"
            yield Finding(Kind.UNSEEN, "I8", f"{what}, and it is not saved", seen.chat_id)
