"""Reads what is to be judged of one fault: rows of chats that were made since it began, and the audit's."""

from collections.abc import Collection

from devtools.chaos import audit, notes
from devtools.chaos.load.conversation import Seen
from devtools.chaos.load.journal import Journal
from devtools.chaos.oracle.evidence import ChatRow, Evidence, MessageRow, QueuedRow, Rest
from devtools.chaos.target import Target

CHATS = """
SELECT id::text, status, runner_id::text, snapshot_version, history_version, generation_attempt, last_error
FROM chat_chat WHERE created_at >= to_timestamp(%s)
"""
MESSAGES = """
SELECT message.id, chat_id::text, role, parts, revision, interrupted FROM chat_chatmessage message
JOIN chat_chat chat ON chat.id = chat_id
WHERE NOT deleted AND chat.created_at >= to_timestamp(%s) ORDER BY message.id
"""
QUEUED = """
SELECT queued.id, chat_id::text, parts FROM chat_queuedmessage queued
JOIN chat_chat chat ON chat.id = chat_id WHERE chat.created_at >= to_timestamp(%s) ORDER BY queued.id
"""


async def collect(
    target: Target, journal: Journal, seen: list[Seen], rest: Rest, *, since: float, there: Collection[str]
) -> Evidence:
    """`since`: seconds since the epoch, before this fault's first chat was made; `there`: the chat workers of then."""
    return Evidence(
        requests=list(journal.requests.values()),
        seen=seen,
        chats=[ChatRow(*row) for row in await target.query(CHATS, [since])],
        messages=[MessageRow(*row) for row in await target.query(MESSAGES, [since])],
        queued=[QueuedRow(*row) for row in await target.query(QUEUED, [since])],
        moves=audit.moves_of(await target.query(audit.SELECT, [since])),
        starts=audit.starts_of(await target.query(audit.STARTS), since=since, there=there),
        rest=rest,
        refusals=notes.refusals(target.noted, since=since),
    )
