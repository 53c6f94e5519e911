"""When a child that died is started again. Pure: values in, values out.

Delays double from 0.2 s to 5 s and start over once a child has lived 10 s. A child that has never been up
and dies five times within its first seconds will not start the sixth time either: give up. So with one that
was up, if somebody else has taken its port meanwhile.
"""

from dataclasses import dataclass, replace

FIRST_DELAY = 0.2  # seconds
LONGEST_DELAY = 5.0
LIVED_LONG = 10.0  # seconds of life after which a death is an accident
TRIES = 5


@dataclass(frozen=True)
class History:
    """What is known of one child: deaths in a row soon after a start, and whether it ever was up."""

    early_deaths: int = 0
    was_up: bool = False


@dataclass(frozen=True)
class Restart:
    """Start again after so many seconds."""

    after: float


@dataclass(frozen=True)
class GiveUp:
    """It cannot start."""


def after_death(
    history: History, *, lived: float, was_up: bool, port_taken: bool = False, longest_delay: float = LONGEST_DELAY
) -> tuple[History, Restart | GiveUp]:
    """What a death means for a child that lived so many seconds, and whether it was up in that life.

    `longest_delay`: shorter for who kills on purpose and often, as the fault suite does.
    """
    if lived >= LIVED_LONG:
        history = History(early_deaths=0, was_up=True)
    history = replace(history, early_deaths=history.early_deaths + 1, was_up=history.was_up or was_up)
    if history.early_deaths >= TRIES and (port_taken or not history.was_up):
        return history, GiveUp()
    return history, Restart(min(longest_delay, FIRST_DELAY * 2 ** (history.early_deaths - 1)))
