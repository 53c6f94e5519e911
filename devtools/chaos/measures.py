"""How long it took others to go on, and what it cost: moves and blows in, figures out. Pure.

A takeover is counted from the blow to the commit that gives the chat to another runner, which begins the new attempt
in the same transaction; a hand-over from the signal to the same. A chat whose owner had let go of it by right in the
meantime, or that a person stopped, is neither. Where no chat worker was left, one that starts again is waited for;
`alone` says for how long.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from devtools.chaos import provocation
from devtools.chaos.audit import Move, Moves
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.notes import Refusal
from devtools.chaos.provocation import Window, is_in


@dataclass(frozen=True, slots=True)
class Passage:
    """A chat that went from one worker to another because of a blow. `took` is None if nobody ever took it."""

    chat_id: str
    blow: Blow
    took: float | None
    alone: float = 0.0
    """Seconds between the blow and its end in which no chat worker was there that could have taken the chat."""
    let_go: bool = False
    """Whether its owner gave it back before somebody else took it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A stretch in which a chat was runnable and nobody's, `lasted` seconds, infinitely many if it never ended."""

    chat_id: str
    since: float
    lasted: float
    alone: float = 0.0
    """As of a passage."""


@dataclass(frozen=True, slots=True)
class Cost:
    answers: int
    """That were saved."""
    again: int
    """Model calls beyond the first of an answer."""
    again_unexcused: int = 0
    """Of those: begun when nothing had been away for longer than leases last."""
    unprovoked: int = 0
    """Chats taken from a worker to which nothing had happened."""
    by_itself: int = 0
    """Answers that a runner began once more which had begun them itself."""
    refused: int = 0
    """Writes of whoever had lost its chat."""
    refused_late: int = 0
    """Of those: such as came when somebody who had stood still woke up."""
    previews: int = 0
    """Live texts that became an answer."""
    previews_whole: int = 0
    """Of those: texts that were all of it."""


def takeovers(moves: Moves, blows: Sequence[Blow], starts: Mapping[str, float]) -> list[Passage]:
    """Chats of killed and frozen workers. `starts`: when each worker was ready."""
    hits = [blow for blow in blows if blow.effect in (Effect.KILLED, Effect.FROZEN)]
    return _passages(moves, hits, blows, starts)


def handovers(moves: Moves, blows: Sequence[Blow], starts: Mapping[str, float]) -> list[Passage]:
    """Chats of workers that were told to end and did not finish them."""
    told = [blow for blow in blows if blow.effect is Effect.TOLD]
    return _passages(moves, told, blows, starts)


def waits(moves: Moves, blows: Sequence[Blow], starts: Mapping[str, float]) -> list[Wait]:
    """Every stretch in which a chat waited for a worker, whatever the reason."""
    found = []
    for chat_id, of_chat in moves.items():
        since: float | None = None
        for move in of_chat:
            if not (move.is_runnable and move.runner_id is None):
                if since is not None:
                    found.append(Wait(chat_id, since, move.at - since, _alone(since, move.at, blows, starts)))
                since = None
            elif since is None:
                since = move.at
        if since is not None:
            found.append(Wait(chat_id, since, math.inf))
    return found


def unprovoked(moves: Moves, blows: Sequence[Blow], lease_ttl: float) -> int:
    """How often a chat was taken from a worker to which nothing had happened that was a reason at that time."""
    away = provocation.outages(blows, lease_ttl)
    return sum(
        before.runner_id is not None
        and after.runner_id not in (None, before.runner_id)
        and not is_in(after.at, away + provocation.on_worker(before.worker_id, blows, lease_ttl))
        for of_chat in moves.values()
        for before, after in pairwise(of_chat)
    )


def begun_again(moves: Moves, outside: Sequence[Window] = ()) -> int:
    """Model calls beyond the first of an answer; those that began in no window of `outside`."""
    count = 0
    for of_chat in moves.values():
        known: dict[int, int] = {}  # history version → attempts so far
        for move in of_chat:
            before = known.get(move.history_version, 0)
            known[move.history_version] = max(before, move.attempt)
            if not is_in(move.at, outside):
                count += max(0, move.attempt - max(before, 1))
    return count


def by_itself(moves: Moves) -> int:
    """How often a runner began an answer once more that it had begun itself: paid for twice, and nobody hit it."""
    return sum(
        after.runner_id is not None
        and after.runner_id == before.runner_id
        and after.history_version == before.history_version
        and after.attempt > before.attempt >= 1
        for of_chat in moves.values()
        for before, after in pairwise(of_chat)
    )


def refused_late(refusals: Iterable[Refusal], blows: Iterable[Blow], lease_ttl: float) -> int:
    """What the fence refused from when the lease of a frozen worker expired until it was sound again."""
    sleeps = [(one.at + lease_ttl, one.until + lease_ttl) for one in blows if one.effect is Effect.FROZEN]
    return sum(is_in(refusal.at, sleeps) for refusal in refusals)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile, as a value that was measured; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def _alone(since: float, until: float, blows: Iterable[Blow], starts: Mapping[str, float]) -> float:
    """Seconds between two moments in which every worker had been hit; what never ended again is not counted."""
    out: dict[str, list[tuple[float, float]]] = {}
    for blow in blows:
        for worker_id in blow.worker_ids:
            end = blow.until if blow.effect is Effect.FROZEN else math.inf
            out.setdefault(worker_id, []).append((blow.at, end))
    ends = [moment for spans in out.values() for span in spans for moment in span]
    moments = sorted({since, *(at for at in (*starts.values(), *ends, until) if since < at <= until and at < math.inf)})

    def somebody_was_there(moment: float) -> bool:
        return any(
            started_at <= moment and not any(at <= moment < end for at, end in out.get(worker_id, ()))
            for worker_id, started_at in starts.items()
        )

    return sum(later - moment for moment, later in pairwise(moments) if not somebody_was_there(moment))


def _passages(moves: Moves, hits: Iterable[Blow], blows: Sequence[Blow], starts: Mapping[str, float]) -> list[Passage]:
    found = []
    for of_chat in moves.values():
        times = [move.at for move in of_chat]
        for blow in hits:
            place = bisect_right(times, blow.at)
            if place and (owner := of_chat[place - 1]).is_runnable and owner.worker_id in blow.worker_ids:
                passage = _passage(owner, of_chat[place:], blow)
                if passage is not None:
                    until = math.inf if passage.took is None else blow.at + passage.took
                    found.append(replace(passage, alone=_alone(blow.at, until, blows, starts)))
    return found


def _passage(owner: Move, later: Sequence[Move], blow: Blow) -> Passage | None:
    """What became of a chat that `owner` had at the blow; None if it needed nobody else."""
    let_go = False
    for move in later:
        let_go = let_go or move.runner_id is None
        if not move.is_runnable or (move.runner_id is None and move.history_version != owner.history_version):
            return None  # it ended, or a person stopped it and the next turn waits for its worker
        if move.runner_id not in (None, owner.runner_id):
            return Passage(owner.chat_id, blow, move.at - blow.at, let_go=let_go)
    return Passage(owner.chat_id, blow, None, let_go=let_go)
