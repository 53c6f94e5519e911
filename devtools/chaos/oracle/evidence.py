"""What the judge looks at: values, read after everything came to rest."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devtools.chaos.audit import Moves
from devtools.chaos.load.conversation import Seen
from devtools.chaos.load.journal import Request
from devtools.chaos.load.screen import text_of
from devtools.chaos.notes import Refusal


class Kind(enum.StrEnum):
    """What is wrong; the first four are what `--json` counts by name."""

    LOST = "lost"
    DOUBLED = "doubled"
    MALFORMED = "malformed"
    STUCK = "stuck"
    UNSEEN = "unseen"
    """What a person saw is not what is saved."""
    UNSAFE = "unsafe"
    """A write that a fence, a lock or a version should have refused."""
    BROKEN_PROMISE = "broken promise"
    """What this fault in particular must not do."""
    LEFT_OVER = "left over"
    WEAK = "weak"
    """The suite did less than it says: a fault missed, nobody was hit."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    invariant: str
    """I1 to I10, as docs/chaos.md lists them."""
    what: str
    chat_id: str | None = None

    def __str__(self) -> str:
        where = f" (chat {self.chat_id})" if self.chat_id else ""
        return f"{self.invariant} {self.kind}: {self.what}{where}"


@dataclass(frozen=True, slots=True)
class ChatRow:
    id: str
    status: str
    runner_id: str | None
    snapshot_version: int
    history_version: int
    attempt: int
    last_error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One that is not deleted."""

    id: int
    chat_id: str
    role: str
    parts: list[dict[str, Any]]
    revision: int
    interrupted: bool = False

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True)
class QueuedRow:
    id: int
    chat_id: str
    parts: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left when nothing should go on any more."""

    came: bool = True
    """Whether it became quiet in time."""
    leases: int = 0
    idle_transactions: int = 0
    keys_without_ttl: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    """Processes that hold more than at the last rest, each as a sentence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    requests: Sequence[Request]
    seen: Sequence[Seen]
    chats: Sequence[ChatRow]
    messages: Sequence[MessageRow]
    """By id."""
    queued: Sequence[QueuedRow]
    moves: Moves = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    """When each chat worker, by its id, was ready; seconds since the epoch."""
    rest: Rest = Rest()
    refusals: Sequence[Refusal] = ()
    """Writes that the fence refused."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the system was promised to hold with. `loses_previews`: Redis was emptied, and a worker killed as well."""

    lease_ttl: float
    loses_previews: bool = False
    most_attempts: int = 25
