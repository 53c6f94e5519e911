"""I6 and I9: everything ends, and nothing is left behind. Pure."""

from collections.abc import Iterator

from devtools.chaos.audit import RUNNABLE
from devtools.chaos.oracle.evidence import Evidence, Finding, Kind, Terms


def judge_quiet(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    for chat in evidence.chats:
        if chat.status in RUNNABLE:
            yield Finding(Kind.STUCK, "I6", f"the chat is {chat.status} and nobody works on it", chat.id)
        elif chat.status != "waiting":
            reason = (chat.last_error or {}).get("message", "")
            yield Finding(Kind.STUCK, "I7", f"the chat ended as {chat.status}: {reason}", chat.id)
    for queued in evidence.queued:
        yield Finding(Kind.STUCK, "I6", f"a message waits in the queue: {queued.text[:40]!r}", queued.chat_id)
    for seen in evidence.seen:
        if not seen.quiet:
            yield Finding(Kind.STUCK, "I6", "the person who followed this chat never saw it become quiet", seen.chat_id)
    rest = evidence.rest
    if not rest.came:
        yield Finding(Kind.STUCK, "I6", "the system did not come to rest in time")
    if rest.leases:
        yield Finding(Kind.LEFT_OVER, "I9", f"{rest.leases} leases at rest")
    if rest.idle_transactions:
        yield Finding(Kind.LEFT_OVER, "I9", f"{rest.idle_transactions} transactions that nobody ends")
    if rest.keys_without_ttl:
        some = ", ".join(rest.keys_without_ttl[:3])
        yield Finding(Kind.LEFT_OVER, "I9", f"{len(rest.keys_without_ttl)} keys in Redis without an end: {some}")
    for what in rest.grown:
        yield Finding(Kind.LEFT_OVER, "I9", what)
