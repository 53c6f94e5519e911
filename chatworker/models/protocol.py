"""What generation and a model say to each other: ours, typed, nothing of a provider's library in it. Pure.

A `ModelClient` takes a `ModelRequest` and yields deltas, which are parts of `chat.content` with the `index` of the
part they belong to, and at the end has a `ModelAnswer`. Everything that goes wrong is a `ModelError` with the facts
that `chatworker.failure` needs.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class PromptMessage:
    role: str
    parts: list[dict[str, Any]]
    model: str = ""
    """PROVIDER:NAME that wrote it; what only a provider understands goes back to the same one alone."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    messages: list[PromptMessage]
    system: str = ""
    max_output_tokens: int = 32_000
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A whole answer; `parts` as in `chat.content`, `usage` in tokens by kind."""

    parts: list[dict[str, Any]]
    usage: dict[str, int]


class ModelStream(Protocol):
    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """The deltas of the answer, as they come. Raises `ModelError`."""

    def answer(self) -> ModelAnswer:
        """After the last delta: the whole."""


class ModelClient(Protocol):
    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        """One call of the model. Raises `ModelError`."""


class ModelError(Exception):
    """A call of a model failed; the facts, not yet judged."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status_code: int | None = None,
        retry_after: float = 0.0,
        kind: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.status_code = status_code
        self.retry_after = retry_after
        self.kind = kind
        """Set where the caller knows better than any reading of the message ("stream_silence_timeout", …)."""
