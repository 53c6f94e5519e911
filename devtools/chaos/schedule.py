"""Which blows fall, in which order, on whom and how far apart: a function of the seed. Pure.

What the system does between two blows is its own affair, so a replay repeats the schedule, not the history.
"""

import random
from dataclasses import dataclass, replace

from devtools.chaos.faults import Fault

MOST_VARIANTS = 12
"""Any number that each blow's count of variants divides: so each may be the first."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One blow to be struck.

    `after`: seconds since the system was whole again after the one before. `pick`: from 0 to 1, which of those that
    can be hit; `variant`: in which way, counted from a number that the seed gives. `lasts`: seconds, for what lasts.
    `at_end`: in the moment in which an answer ends and is about to be saved, instead of any. `together`: what else
    falls at the same time, `after` seconds later.
    """

    what: str
    after: float
    pick: float
    lasts: float
    at_end: bool = False
    variant: int = 0
    together: tuple["Strike", ...] = ()


def schedule(fault: Fault, runs: int, seed: int, *, long: bool = False) -> list[Strike]:
    """`runs` strikes of a fault; `long`: those that last, last as long as in a full run."""
    rng = random.Random(f"{seed}/{fault.name}")
    first_variant = rng.randrange(MOST_VARIANTS)
    lasts = fault.lasts_in_full if long else fault.lasts
    return [_strike(fault, rng, lasts, first_variant + number) for number in range(runs)]


def _strike(fault: Fault, rng: random.Random, lasts: tuple[float, float], variant: int) -> Strike:
    def one(what: str, after: float) -> Strike:
        return Strike(what, after, rng.random(), rng.uniform(*lasts), rng.random() < fault.at_end, variant)

    after = rng.uniform(*fault.apart)
    if not fault.drawn_from:
        return one(fault.blow, after)
    first, *others = rng.sample(fault.drawn_from, 3)
    return replace(one(first, after), together=tuple(one(other, rng.uniform(0.0, 1.0)) for other in others))
