"""What is known of a chat at one moment, as plain values: durations in seconds, nothing of the database. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chat.execution import State


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker and the runner that the chat's row names."""

    worker_id: str
    runner_id: str
    host: str | None
    """None, like `pid`: the worker has no row (any more)."""
    pid: int | None
    holds_lock: bool
    """The lock that dies with its process."""
    alive: bool
    """It holds its lock, or has sent a heartbeat a moment ago."""
    draining: bool
    heartbeat_age: float | None
    """None: there is no lease; whoever declared the worker dead deleted it."""
    lease_is_fresh: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """The last attempt failed; `after`: until the next one, negative once it is due, None if unknown."""

    reason: str
    after: float | None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call without a result."""

    tool_call_id: str
    tool_name: str
    by_client: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """How many chats may run, in the line in which this one would wait; 0: no limit."""

    total: int
    per_owner: int


@dataclass(frozen=True, slots=True)
class Workers:
    """All chat workers together; `slots`: of those that are alive and take chats."""

    taking: int
    """Alive, and not told to stop."""
    draining: int
    slots: int
    taken: int

    @property
    def are_full(self) -> bool:
        return self.taken >= self.slots


@dataclass(frozen=True, slots=True)
class Situation:
    chat_id: str
    title: str
    user: str
    model: str
    root_id: str | None
    """Of a sub-agent: the chat that began its family."""
    status: str
    archived: bool
    state: State
    queued: int
    steering: int
    """How many of the queued messages are to join the running turn."""
    owner: Owner | None
    attempt: int
    max_attempts: int
    retry: Retry | None
    calls: tuple[Call, ...]
    deadline_in: float | None
    """Until the client's calls time out; negative once that has passed."""
    last_error: Mapping[str, Any] | None
    compaction_asked_since: float | None
    waiting_since: float | None
    """Runnable, and nobody's, for so long."""
    place: int | None
    """In the line for capacity, from 1; None: it stands in none."""
    limits: Limits
    workers: Workers
    lease_lasts: float
    drain_lasts: float
    commands: frozenset[str] = field(default=frozenset(), repr=False)
    """Of `manage.py`, as far as they could be of help here."""

    @property
    def client_calls(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.by_client)


def seconds(value: float) -> str:
    """A duration for people: "0.4 s", "12 s", "3 min", "5 h", "4 days"."""
    value = max(0.0, value)
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 100:
        return f"{value:.0f} s"
    if value < 100 * 60:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 48 * 3600 else f"{value / 86_400:.0f} days"


def sentence(text: str) -> str:
    """What somebody else wrote, with the full stop that it may lack."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def count(number: int, noun: str) -> str:
    """ "1 message", "2 messages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
