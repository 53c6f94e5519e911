"""I6 and I10, and what a fault in particular promises: were people served again in time, and was anybody hit? Pure."""

import math
from collections.abc import Iterator, Sequence

from devtools.chaos.blows import ON_WORKERS, Blow, Effect
from devtools.chaos.faults import Fault
from devtools.chaos.measures import Cost, Passage, Wait
from devtools.chaos.oracle.evidence import Evidence, Finding, Kind, Terms

BEYOND_EXPIRY = 5.0
"""Seconds that a runnable chat may be without a fresh lease, after the lease of its dead owner has expired."""
ENOUGH_SLEEPERS = 5
"""Workers that stand still, one of which at least was about to write when it fell asleep."""


def judge_waits(waits: Sequence[Wait], terms: Terms) -> Iterator[Finding]:
    """Whatever was hit: who owns no chat has no lease that would have to expire, and the limit is the same."""
    for wait in waits:
        limit = wait.alone + terms.lease_ttl + BEYOND_EXPIRY
        if wait.lasted > limit:
            lasted = "for ever" if math.isinf(wait.lasted) else f"{wait.lasted:.1f} s"
            what = f"the chat was runnable and nobody's {lasted} from {wait.since:.3f} on; {limit:.1f} s is the limit"
            yield Finding(Kind.STUCK, "I6", what, wait.chat_id)


def judge_promises(
    fault: Fault, evidence: Evidence, terms: Terms, passages: Sequence[Passage], cost: Cost
) -> Iterator[Finding]:
    """What is a reason, and for how long, `provocation` knows."""
    for passage in passages:
        limit = passage.alone + terms.lease_ttl + BEYOND_EXPIRY
        if passage.took is None or passage.took > limit:
            after = "never" if passage.took is None else f"after {passage.took:.1f} s"
            what = f"others went on {after} with what was hit by “{passage.blow.what}”; {limit:.1f} s is the limit"
            yield Finding(Kind.STUCK, "I6", what, passage.chat_id)
        if passage.blow.effect is Effect.TOLD and not passage.let_go and not fault.drawn_from:
            what = "a worker that was told to end never gave the chat back: others had to find out"
            yield Finding(Kind.BROKEN_PROMISE, "I4", what, passage.chat_id)
    if cost.again_unexcused and not fault.begins_again:
        what = f"{cost.again_unexcused} answers were begun again; this fault is no reason"
        yield Finding(Kind.BROKEN_PROMISE, "I7", what)
    if cost.by_itself and not fault.commits_in_doubt:
        what = f"{cost.by_itself} answers were begun again by the runner that had begun them"
        yield Finding(Kind.BROKEN_PROMISE, "I7", what)
    if fault.whole_previews and (short := cost.previews - cost.previews_whole):
        yield Finding(Kind.UNSEEN, "I8", f"{short} answers were saved before people had seen them whole")
    if cost.unprovoked:
        what = f"{cost.unprovoked} chats were taken from workers to whom nothing had happened"
        yield Finding(Kind.BROKEN_PROMISE, "I4", what)
    errors = [request for request in evidence.requests if request.status == 500]
    if errors:
        yield Finding(Kind.BROKEN_PROMISE, "I10", f"{len(errors)} requests got a 500, first {errors[0].key}")


def judge_health(
    fault: Fault, planned: int, blows: Sequence[Blow], took_over: Sequence[Passage], cost: Cost
) -> Iterator[Finding]:
    """`planned`: how many blows were to fall."""
    if len(blows) < planned:
        yield Finding(Kind.WEAK, "I10", f"{len(blows)} blows landed, {planned} were planned")
    for blow in blows:
        if not blow.streaming:
            yield Finding(Kind.WEAK, "I10", f"nobody was streaming when “{blow.what}” fell")
        if blow.effect in ON_WORKERS and not blow.chats_hit:
            yield Finding(Kind.WEAK, "I10", f"“{blow.what}” hit no chat")
        if blow.late:
            yield Finding(Kind.STUCK, "I6", f"after “{blow.what}”: {blow.late}")
    hits = sum(blow.effect in (Effect.KILLED, Effect.FROZEN) for blow in blows)
    if fault.takes_over and len(took_over) < max(1, hits):
        yield Finding(Kind.WEAK, "I10", f"{len(took_over)} chats were taken over after {hits} blows that ask for it")
    if fault.writes_late and len(blows) >= ENOUGH_SLEEPERS and not cost.refused_late:
        yield Finding(Kind.WEAK, "I10", f"{len(blows)} workers stood still, and none of them wrote anything late")
    if not cost.answers:
        yield Finding(Kind.WEAK, "I10", "no answer was saved")
