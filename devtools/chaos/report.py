"""The table at the end, and the one JSON object of `--json`. Pure: results in, text out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from devtools.chaos.blows import Effect
from devtools.chaos.campaign import Result
from devtools.chaos.measures import Passage, percentile
from devtools.chaos.oracle import Kind

COUNTED = (Kind.LOST, Kind.DOUBLED, Kind.MALFORMED, Kind.STUCK)
SHOWN = 20
"""Findings of one fault that are printed; all of them are in the journal's folder."""


def table(results: Sequence[Result]) -> str:
    width = max(len("fault"), *(len(result.fault.name) for result in results))
    head = (
        f"{'fault':{width}} {'runs':>5} {'chats':>6} {'answers':>8} {'lost':>5} {'doubled':>8} {'malformed':>10} "
        f"{'stuck':>6} {'other':>6} {'taken over':>11} {'p50 s':>6} {'p99 s':>6} {'handed over':>12} {'p50 s':>6} "
        f"{'p99 s':>6} {'begun again':>12} {'refused':>8} {'seconds':>8}"
    )
    lines = [head]
    for result in results:
        kinds = Counter(finding.kind for finding in result.findings)
        counted = [kinds[kind] for kind in COUNTED]
        others = sum(kinds.values()) - sum(counted)
        lost, doubled, malformed, stuck = counted
        lines.append(
            f"{result.fault.name:{width}} {result.runs:>5} {result.chats:>6} {result.cost.answers:>8} {lost:>5} "
            f"{doubled:>8} {malformed:>10} {stuck:>6} {others:>6} {len(result.takeovers):>11} "
            f"{_seconds(result.takeovers, 50):>6} {_seconds(result.takeovers, 99):>6} {len(result.handovers):>12} "
            f"{_seconds(result.handovers, 50):>6} {_seconds(result.handovers, 99):>6} {result.cost.again:>12} "
            f"{result.cost.refused:>8} {result.seconds:>8.0f}"
        )
    return "\n".join(lines)


def aims(results: Iterable[Result]) -> list[str]:
    """What the project aims at and this machine, at this moment, did not reach: no finding, but worth a look."""
    found = []
    for result in results:
        passages = result.takeovers or result.handovers
        for percent, limit in ((50, result.fault.limits.p50), (99, result.fault.limits.p99)):
            took = _percentile(passages, percent)
            if limit is not None and took is not None and took > limit:
                found.append(f"{result.fault.name}: p{percent} {took:.2f} s; the aim is {limit:g} s")
    return found


def findings(results: Iterable[Result]) -> list[str]:
    lines = []
    for result in results:
        lines += [f"{result.fault.name}: {finding}" for finding in result.findings[:SHOWN]]
        if len(result.findings) > SHOWN:
            lines.append(f"{result.fault.name}: and {len(result.findings) - SHOWN} more")
    return lines


def summary(results: Sequence[Result], seed: int) -> dict[str, Any]:
    """For `--json`. Takeovers are those of killed workers that had left others behind: what was frozen is taken when
    its lease expires, and what nobody can take waits for a process to start.
    """
    kinds = Counter(finding.kind for result in results for finding in result.findings)
    killed = [
        passage
        for result in results
        for passage in result.takeovers
        if passage.blow.effect is Effect.KILLED and not passage.alone
    ]
    handed = [passage for result in results for passage in result.handovers]
    return {
        "runs": sum(result.runs for result in results),
        **{str(kind): kinds[kind] for kind in COUNTED},
        "takeover_p50_s": _rounded(_percentile(killed, 50)),
        "takeover_p99_s": _rounded(_percentile(killed, 99)),
        "handover_p50_s": _rounded(_percentile(handed, 50)),
        "handover_p99_s": _rounded(_percentile(handed, 99)),
        "begun_again": sum(result.cost.again for result in results),
        "violations": sum(kinds.values()),
        "aims_missed": aims(results),
        "seed": seed,
        "faults": {result.fault.name: _details(result) for result in results},
    }


def _details(result: Result) -> dict[str, Any]:
    kinds = Counter(finding.kind for finding in result.findings)
    return {
        "runs": result.runs,
        "blows": len(result.blows),
        "struck": sum(blow.times for blow in result.blows),
        "chats": result.chats,
        "answers": result.cost.answers,
        "requests": result.outcomes,
        **{str(kind): kinds[kind] for kind in Kind},
        "takeovers": len(result.takeovers),
        "takeover_p50_s": _rounded(_percentile(result.takeovers, 50)),
        "takeover_p99_s": _rounded(_percentile(result.takeovers, 99)),
        "handovers": len(result.handovers),
        "handover_p50_s": _rounded(_percentile(result.handovers, 50)),
        "handover_p99_s": _rounded(_percentile(result.handovers, 99)),
        "unprovoked_takeovers": result.cost.unprovoked,
        "begun_again": result.cost.again,
        "begun_again_by_itself": result.cost.by_itself,
        "refused": result.cost.refused,
        "refused_late": result.cost.refused_late,
        "previews": result.cost.previews,
        "previews_whole": result.cost.previews_whole,
        "seconds": round(result.seconds, 1),
        "violations": [str(finding) for finding in result.findings],
    }


def _percentile(passages: Iterable[Passage], percent: float) -> float | None:
    return percentile([passage.took for passage in passages if passage.took is not None], percent)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _seconds(passages: Iterable[Passage], percent: float) -> str:
    value = _percentile(passages, percent)
    return "-" if value is None else f"{value:.2f}"
