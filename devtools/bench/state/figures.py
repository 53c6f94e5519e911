"""From measured rounds to figures, and from figures to a table. Pure.

Whatever is compared (ours with the bare minimum, a long history with a short one) is compared within a round; the
figure is the median of these ratios. A time is the median of all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

AIM = 2.5
"""What `commit_step` may cost at most, in bare minimums."""
HEADLINE = "1", "1000"
"""Threads and length of history of `commit_step_ratio`."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one thread, or all together, did in one turn."""

    seconds: dict[str, list[float]]
    """Name → the duration of each."""
    per_second: float

    @classmethod
    def together(cls, turns: "Sequence[Turn]") -> "Turn":
        names = turns[0].seconds
        seconds = {name: [taken for turn in turns for taken in turn.seconds[name]] for name in names}
        return cls(seconds, sum(turn.per_second for turn in turns))

    @property
    def count(self) -> int:
        return sum(map(len, self.seconds.values()))


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of each kind, on histories of one length."""

    bare: Turn
    commit_step: Turn
    cycle: Turn

    @property
    def doors(self) -> int:
        """Transitions committed."""
        return self.commit_step.count + self.cycle.count


Rounds = Mapping[int, Sequence[Round]]
"""Messages in the history → one for each round, in the same order for all."""
Figures = dict[str, Any]


def figures(measured: Mapping[int, Rounds]) -> Figures:
    """From threads → rounds. JSON: keys are texts, threads outermost, then lengths of history."""
    steps = {str(threads): _by_length(rounds, _step) for threads, rounds in measured.items()}
    return {
        "commit_step_ratio": steps[HEADLINE[0]][HEADLINE[1]]["ratio"],
        "commit_step": steps,
        "transition_ms": {str(threads): _by_length(rounds, _transitions) for threads, rounds in measured.items()},
        "long_history_ratio": {str(threads): _long_to_short(rounds) for threads, rounds in measured.items()},
        "transitions_per_s": {str(threads): _by_length(rounds, _per_second) for threads, rounds in measured.items()},
    }


def _by_length(rounds: Rounds, figure: Callable[[Sequence[Round]], Any]) -> Figures:
    return {str(length): figure(some) for length, some in rounds.items()}


def _step(rounds: Sequence[Round]) -> Figures:
    """A rate is of all threads together, a time of one."""
    ours = [taken for one in rounds for taken in one.commit_step.seconds["commit_step"]]
    bare = [taken for one in rounds for taken in one.bare.seconds["bare"]]
    return {
        "ratio": round(median(one.bare.per_second / one.commit_step.per_second for one in rounds), 2),
        "ms": _ms(ours),
        "bare_ms": _ms(bare),
        "per_s": round(median(one.commit_step.per_second for one in rounds)),
        "bare_per_s": round(median(one.bare.per_second for one in rounds)),
    }


def _transitions(rounds: Sequence[Round]) -> Figures:
    names = rounds[0].cycle.seconds
    return {name: _ms([taken for one in rounds for taken in one.cycle.seconds[name]]) for name in names}


def _per_second(rounds: Sequence[Round]) -> int:
    return round(median(one.cycle.per_second for one in rounds))


def _long_to_short(rounds: Rounds) -> Figures:
    short, long = rounds[min(rounds)], rounds[max(rounds)]
    return {
        name: round(
            median(
                median(far.cycle.seconds[name]) / median(near.cycle.seconds[name])
                for near, far in zip(short, long, strict=True)
            ),
            2,
        )
        for name in short[0].cycle.seconds
    }


def _ms(seconds: Sequence[float]) -> float:
    return round(median(seconds) * 1000, 2)


def table(found: Figures) -> str:
    threads, length = HEADLINE
    return "\n".join(
        [
            *(line for count in found["transition_ms"] for line in _transition_table(found, count)),
            *_step_table(found["commit_step"]),
            f"\ncommit_step_ratio ({threads} thread, {int(length):,} messages): {found['commit_step_ratio']:.2f}; "
            f"the aim is {AIM} at most",
        ]
    )


def _transition_table(found: Figures, threads: str) -> Iterator[str]:
    lengths, ratios = found["transition_ms"][threads], found["long_history_ratio"][threads]
    yield f"\n{threads} thread{'' if threads == '1' else 's'}: ms of each transition, by messages in the history"
    yield f"{'':28}" + "".join(f"{int(length):>10,}" for length in lengths) + "   longest / shortest"
    for name, ratio in ratios.items():
        yield f"{name:28}" + "".join(f"{times[name]:>10.2f}" for times in lengths.values()) + f"{ratio:>12.2f}"
    yield f"{'transitions per second':28}" + "".join(
        f"{rate:>10}" for rate in found["transitions_per_s"][threads].values()
    )


def _step_table(steps: Figures) -> Iterator[str]:
    yield "\ncommit_step alone, beside the bare minimum (UPDATE … RETURNING, INSERT, commit) of the same rounds"
    yield f"{'threads':>8}{'messages':>10}{'ms':>9}{'bare ms':>9}{'per s':>9}{'bare per s':>12}{'ratio':>8}"
    for threads, lengths in steps.items():
        for length, one in lengths.items():
            yield (
                f"{threads:>8}{int(length):>10,}{one['ms']:>9.2f}{one['bare_ms']:>9.2f}"
                f"{one['per_s']:>9}{one['bare_per_s']:>12}{one['ratio']:>8.2f}"
            )
