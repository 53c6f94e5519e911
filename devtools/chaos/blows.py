"""What hit the system, as values: written by who struck, read by the judge and by the measures. Pure."""

import enum
from dataclasses import dataclass


class Effect(enum.StrEnum):
    """What a blow means for the chat workers that it names, or for all."""

    KILLED = "killed"
    FROZEN = "frozen"
    """Stopped, or busy with nothing, for longer than its leases last; it wakes up later."""
    TOLD = "told"
    """Asked to end, in good order."""
    AWAY = "away"
    """Nobody could reach the database for as long as it lasted."""
    NONE = "none"


ON_WORKERS = frozenset({Effect.KILLED, Effect.FROZEN, Effect.TOLD})


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
    times: int = 1
    """How often it struck, of what strikes many times while it lasts."""
    late: str = ""
    """What was not as before in time afterwards; empty if everything was."""
