"""What hit the system, as values: written by who struck, read by the judge and by the measures. Pure."""

import enum
from dataclasses import dataclass


class Effect(enum.StrEnum):
    """What a blow means for the chat workers that it names."""

    KILLED = "killed"
    FROZEN = "frozen"
    """Stopped, or busy with nothing, for longer than its leases last; it wakes up later."""
    TOLD = "told"
    """Asked to end, in good order."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Blow:
    """One that landed. Times in seconds since the epoch."""

    what: str
    at: float
    until: float
    streaming: int
    """Answers that people saw grow at that moment."""
    effect: Effect = Effect.NONE
    worker_ids: tuple[str, ...] = ()
    chats_hit: int = 0
    """Chats that ran on these workers at that moment."""
    late: str = ""
    """What was not as before in time afterwards; empty if everything was."""
