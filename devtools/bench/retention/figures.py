"""The figures of `./dev bench retention`, and their table. Pure."""

from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import Any

LESS_THAN = {"candidates": 20.0, "ratio": 1.5}
AT_LEAST = {"archive": 2000.0, "purge": 1000.0}
"""What a quiet machine should reach: ms, ratio of medians, chats a second."""
Figures = dict[str, Any]


def turns(quiet: Sequence[Sequence[float]], purging: Sequence[Sequence[float]]) -> Figures:
    """From the seconds of turns, by round; each ratio is the median over rounds of neighbours."""
    return {
        "quiet": _spread([taken for one in quiet for taken in one]),
        "purging": _spread([taken for one in purging for taken in one]),
        "ratio_p50": _ratio(quiet, purging, 50),
        "ratio_p95": _ratio(quiet, purging, 95),
    }


def _spread(seconds: Sequence[float]) -> Figures:
    return {f"p{share}_ms": round(_percentile(seconds, share) * 1000, 2) for share in (50, 95)} | {
        "turns": len(seconds)
    }


def _ratio(quiet: Sequence[Sequence[float]], purging: Sequence[Sequence[float]], share: int) -> float:
    pairs = zip(quiet, purging, strict=True)
    return round(median(_percentile(busy, share) / _percentile(calm, share) for calm, busy in pairs), 2)


def _percentile(seconds: Sequence[float], share: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[share - 1]


def table(found: Figures) -> str:
    return "\n".join(_lines(found))


def _lines(found: Figures) -> Iterator[str]:
    for name, one in found["candidates"].items():
        for plan in one["plans"]:
            yield f"\n{name}"
            yield from (f"  {line}" for line in plan)
    turn = found["turns"]
    rows: list[tuple[str, float, str]] = [
        ("seeding, s", found["seed_s"], ""),
        *(
            (f"{name}, ms ({one['found']} found)", one["ms"], _below(one["ms"], LESS_THAN["candidates"]))
            for name, one in found["candidates"].items()
        ),
        ("archive, chats/s", found["archive_per_s"], _above(found["archive_per_s"], AT_LEAST["archive"])),
        ("purge alone, chats/s", found["purge_per_s"], _above(found["purge_per_s"], AT_LEAST["purge"])),
        ("  its messages/s", found["purge_messages_per_s"], ""),
        ("purge beside live turns, chats/s", found["purge_beside_turns_per_s"], ""),
        ("live turn alone, p50 ms", turn["quiet"]["p50_ms"], ""),
        ("live turn alone, p95 ms", turn["quiet"]["p95_ms"], ""),
        ("live turn beside the purge, p50 ms", turn["purging"]["p50_ms"], ""),
        ("live turn beside the purge, p95 ms", turn["purging"]["p95_ms"], ""),
        ("ratio of p50, by round", turn["ratio_p50"], _below(turn["ratio_p50"], LESS_THAN["ratio"])),
        ("ratio of p95, by round", turn["ratio_p95"], _below(turn["ratio_p95"], LESS_THAN["ratio"])),
    ]
    yield f"\n{found['chats']:,} chats, {found['messages']:,} messages; load before: {found['load_before']}"
    yield f"{'':44}{'':>10}   aim"
    for name, value, aim in rows:
        yield f"{name:44}{value:>10}   {aim}".rstrip()


def _below(value: float, aim: float) -> str:
    return f"<= {aim:g}{'' if value <= aim else '  missed'}"


def _above(value: float, aim: float) -> str:
    return f">= {aim:g}{'' if value >= aim else '  missed'}"
