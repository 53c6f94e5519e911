"""One fault, from the first message to the verdict: people talk, blows fall, everything comes to rest, the judge reads.

Each blow falls when the system is whole again and most chats stream, so that it hits something.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from devtools.chaos import measures, provocation, strikes
from devtools.chaos.blows import Blow
from devtools.chaos.collect import collect
from devtools.chaos.faults import Fault
from devtools.chaos.load.conversation import Seen, Service
from devtools.chaos.load.crowd import Crowd, talking
from devtools.chaos.load.journal import Journal, Outcome
from devtools.chaos.measures import Cost, Passage
from devtools.chaos.oracle import Evidence, Finding, Terms, judge
from devtools.chaos.oracle.health import judge_health, judge_promises, judge_waits
from devtools.chaos.schedule import Strike
from devtools.chaos.target import Target

CHATS = 20
STREAMING_SHARE = 0.6
"""Of the chats, before a blow falls."""
WHOLE_WITHIN = 120.0
"""Seconds in which every process must be back; they start anew, on a machine that is busy."""
QUIET_BEYOND_EXPIRY = 40.0
"""Seconds beyond a lease's length, and beyond what lasts: two answers, one of them in the queue, and a busy machine."""


@dataclass(slots=True)
class Result:
    """What came of one fault."""

    fault: Fault
    runs: int
    seconds: float = 0.0
    blows: list[Blow] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    takeovers: list[Passage] = field(default_factory=list)
    handovers: list[Passage] = field(default_factory=list)
    cost: Cost = field(default_factory=lambda: Cost(0, 0))
    outcomes: dict[str, int] = field(default_factory=dict)
    chats: int = 0


@dataclass(slots=True)
class Talk:
    """What people did and saw while the blows fell, with the time before the first word."""

    since: float
    journal: Journal
    there: frozenset[str]
    """The chat workers of the beginning, by their ids; those of earlier faults may be dead."""
    blows: list[Blow] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


async def run(
    target: Target,
    fault: Fault,
    plan: Sequence[Strike],
    *,
    seed: int,
    journal_path: Path,
    say: Callable[[str], None],
    chats: int = CHATS,
) -> Result:
    """Strike as planned and judge."""
    began = time.monotonic()
    talk, evidence = await strike_and_collect(
        target, fault, plan, seed=seed, journal_path=journal_path, say=say, chats=chats
    )
    result = verdict(fault, plan, talk.blows, evidence, terms_of(target, fault))
    result.seconds = time.monotonic() - began
    return result


async def warm_up(target: Target, *, chats: int = CHATS) -> bool:
    """People talk until each has seen an answer grow, and fall silent. What processes hold then is what they need, and
    later rests are compared with it. Whether it came to that.
    """
    patience = target.profile.lease_ttl + QUIET_BEYOND_EXPIRY
    service = Service(target.stack.url, target.stack.token)
    async with talking(service, Journal(), chats=chats, name="warm-up", seed="warm-up", patience=patience) as crowd:
        streamed = await crowd.until_all_have_streamed(within=WHOLE_WITHIN)
    rest = await target.rest(within=patience, is_warm=True)
    return streamed and rest.came


def terms_of(target: Target, fault: Fault) -> Terms:
    return Terms(target.profile.lease_ttl, loses_previews=fault.loses_previews)


async def strike_and_collect(
    target: Target,
    fault: Fault,
    plan: Sequence[Strike],
    *,
    seed: int,
    journal_path: Path,
    say: Callable[[str], None],
    chats: int = CHATS,
) -> tuple[Talk, Evidence]:
    """Everything but the verdict."""
    journal = Journal.at(journal_path)
    talk = Talk(time.time(), journal, frozenset(worker.worker_id for worker in await target.workers()))
    patience = target.profile.lease_ttl + QUIET_BEYOND_EXPIRY + max(one.lasts for one in plan)
    name = f"{fault.name}-{talk.since:.0f}"
    try:
        journal.note("fault", name=fault.name, seed=seed, plan=list(plan))
        async with talking(
            Service(target.stack.url, target.stack.token), journal,
            chats=chats, name=name, seed=f"{seed}/{fault.name}", patience=patience,
        ) as crowd:  # fmt: skip
            for number, one in enumerate(plan, start=1):
                blows = await _strike_once(target, crowd, one)
                for blow in blows:
                    journal.note("blow", blow=blow)
                say(f"{fault.name} {number}/{len(plan)}: {_in_words(blows)}")
                talk.blows += blows
            talk.seen = crowd.seen  # filled until the end
        talk.seen = crowd.seen
        rest = await target.rest(within=patience)
        return talk, await collect(target, journal, talk.seen, rest, since=talk.since, there=talk.there)
    finally:
        journal.close()


async def _strike_once(target: Target, crowd: Crowd, one: Strike) -> list[Blow]:
    await target.whole(within=WHOLE_WITHIN)
    await crowd.until_streaming(STREAMING_SHARE, within=WHOLE_WITHIN)
    await asyncio.sleep(one.after)
    blows = await strikes.strike(target, crowd, one)
    late = await target.whole(within=WHOLE_WITHIN)
    if not late and not await crowd.until_streaming(STREAMING_SHARE, within=WHOLE_WITHIN):
        late = f"only {crowd.streaming} of {crowd.size} chats stream {WHOLE_WITHIN:g} s later"
    return [replace(blow, late=late) for blow in blows]


def _in_words(blows: Sequence[Blow]) -> str:
    if not blows:
        return "nothing landed"
    return "; ".join(
        f"{blow.what} under {blow.streaming} streaming chats"
        + (f", {blow.chats_hit} of them its own" if blow.chats_hit else "")
        + (f", {blow.times} times" if blow.times > 1 else "")
        + (f" — {blow.late}" if blow.late else "")
        for blow in blows
    )


def verdict(fault: Fault, plan: Sequence[Strike], blows: list[Blow], evidence: Evidence, terms: Terms) -> Result:
    """Pure: the judge's findings and the figures."""
    answers = sum(row.role == "assistant" for row in evidence.messages)
    took_over = measures.takeovers(evidence.moves, blows, evidence.starts)
    handed_over = measures.handovers(evidence.moves, blows, evidence.starts)
    planned = sum(1 + len(one.together) for one in plan)
    texts = {str(row.id): row.text for row in evidence.messages}
    replaced = [one for seen in evidence.seen for one in seen.screen.replaced]
    cost = Cost(
        answers=answers,
        again=measures.begun_again(evidence.moves),
        again_unexcused=measures.begun_again(evidence.moves, provocation.outages(blows, terms.lease_ttl)),
        unprovoked=measures.unprovoked(evidence.moves, blows, terms.lease_ttl),
        by_itself=measures.by_itself(evidence.moves),
        refused=len(evidence.refusals),
        refused_late=measures.refused_late(evidence.refusals, blows, terms.lease_ttl),
        previews=len(replaced),
        previews_whole=sum(texts.get(one.message_id) == one.live for one in replaced),
    )
    return Result(
        fault=fault,
        runs=len(plan),
        blows=blows,
        findings=[
            *judge(evidence, terms),
            *judge_waits(measures.waits(evidence.moves, blows, evidence.starts), terms),
            *judge_promises(fault, evidence, terms, [*took_over, *handed_over], cost),
            *judge_health(fault, planned, blows, took_over, cost),
        ],
        takeovers=took_over,
        handovers=handed_over,
        cost=cost,
        outcomes={str(kind): sum(one.outcome is kind for one in evidence.requests) for kind in Outcome},
        chats=len(evidence.chats),
    )
