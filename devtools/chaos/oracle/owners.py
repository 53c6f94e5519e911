"""I4, I5 and I7: one owner at a time, versions that count transactions, attempts that end. Pure.

A chat worker may change a chat's row only as its owner, or by becoming it. Whoever lost a chat and writes all the
same would show here, whatever the row says in the end.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from devtools.chaos.audit import Move
from devtools.chaos.oracle.evidence import Evidence, Finding, Kind, Terms


def judge_owners(evidence: Evidence, terms: Terms) -> Iterator[Finding]:
    yield from _audited(evidence)
    for chat_id, moves in evidence.moves.items():
        yield from _versions(chat_id, moves)
        yield from _owners(chat_id, moves)
        most = max(move.attempt for move in moves)
        if most > terms.most_attempts:
            yield Finding(Kind.STUCK, "I7", f"an answer was begun {most} times", chat_id)


def _audited(evidence: Evidence) -> Iterator[Finding]:
    """I5: what the row says in the end, a transaction of the audit has left; said only of a system that is at rest."""
    for chat in evidence.chats:
        moves = evidence.moves.get(chat.id)
        if not moves:
            yield Finding(Kind.WEAK, "I10", "the audit knows nothing of this chat", chat.id)
        elif evidence.rest.came and moves[-1].snapshot_version != chat.snapshot_version:
            what = (
                f"the row has version {chat.snapshot_version}, the last transaction made {moves[-1].snapshot_version}"
            )
            yield Finding(Kind.UNSAFE, "I5", what, chat.id)


def _versions(chat_id: str, moves: Sequence[Move]) -> Iterator[Finding]:
    """I5, and I4 for the attempts, which fence the writes within a history version."""
    expected = 1
    for move in moves:
        if move.snapshot_version != expected:
            what = f"a transaction of {move.process} made version {move.snapshot_version}, not {expected}"
            yield Finding(Kind.UNSAFE, "I5", what, chat_id)
        expected = move.snapshot_version + 1
    for before, after in pairwise(moves):
        what = f"{after.process} made version {after.snapshot_version}, and set back the"
        if after.history_version < before.history_version:
            yield Finding(Kind.UNSAFE, "I5", f"{what} history version to {after.history_version}", chat_id)
        if after.queue_version < before.queue_version:
            yield Finding(Kind.UNSAFE, "I5", f"{what} queue version to {after.queue_version}", chat_id)
        if after.history_version == before.history_version and after.attempt < before.attempt:
            yield Finding(Kind.UNSAFE, "I4", f"{what} attempt from {before.attempt} to {after.attempt}", chat_id)


def _owners(chat_id: str, moves: Sequence[Move]) -> Iterator[Finding]:
    """I4."""
    process_of: dict[str, str] = {}
    before: str | None = None  # the runner that owns the chat
    for move in moves:
        if move.runner_id is not None and move.runner_id != before:
            if move.runner_id in process_of:
                yield Finding(
                    Kind.UNSAFE, "I4", f"runner {move.runner_id} owned the chat, lost it, and has it", chat_id
                )
            process_of[move.runner_id] = move.process
        elif move.is_by_chat_worker and before is None and move.status != "error":
            what = f"{move.process} made version {move.snapshot_version} of a chat that nobody owned"
            yield Finding(Kind.UNSAFE, "I4", what, chat_id)
        elif move.is_by_chat_worker and before is not None and process_of.get(before, move.process) != move.process:
            what = f"{move.process} made version {move.snapshot_version}, and {process_of[before]} owned the chat"
            yield Finding(Kind.UNSAFE, "I4", what, chat_id)
        before = move.runner_id
