"""What the demo model will do with one request, as a frozen value.

Pure: decided by `answer.script_for` before anything is sent, turned into bytes by `wire`, paced by
`delivery`. Knows no clock and no network; durations are seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Literal


class Ending(enum.Enum):
    """How the answer ends: complete, or after `Script.ends_after` chunks with silence, a cut, or an error."""

    COMPLETE = "complete"
    STALL = "stall"
    CUT = "cut"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model words it; `arguments` is JSON text unless the script breaks it on purpose."""

    name: str
    arguments: str
    repeats_id: bool = False  # carries the id of the call before it


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error instead of an answer; `times` is None when it never gets better."""

    status: int
    code: str | None = None
    retry_after: str | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """One answer: what is said, when, and how it goes wrong."""

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    first_token_after: float = 0.0
    interval: float | None = None  # None: the server's default; 0: at once
    ending: Ending = Ending.COMPLETE
    ends_after: int = 0
    failure: Failure | None = None
    truncated: bool = False

    @property
    def finish_reason(self) -> Literal["stop", "tool_calls", "length"]:
        """Why the model stopped, in the protocol's words."""
        if self.truncated:
            return "length"
        return "tool_calls" if self.calls else "stop"

    def limited_to(self, max_tokens: int | None) -> Script:
        """The same script cut to `max_tokens` words, reasoning first; a truncated answer makes no calls."""
        if max_tokens is None:
            return self
        reasoning, left = _first_words(self.reasoning, max_tokens)
        text, left = _first_words(self.text, left)
        if len(reasoning) + len(text) == len(self.reasoning) + len(self.text):
            return self
        return replace(self, reasoning=reasoning, text=text, calls=(), truncated=True)


def count_words(chunks: tuple[str, ...]) -> int:
    """The words in a text that was split into chunks anywhere."""
    return len("".join(chunks).split())


def _first_words(chunks: tuple[str, ...], limit: int) -> tuple[tuple[str, ...], int]:
    """The leading whole chunks that hold at most `limit` words, and what is left of the limit."""
    for position, chunk in enumerate(chunks):
        words = len(chunk.split())
        if words > limit:
            return chunks[:position], 0
        limit -= words
    return chunks, limit
