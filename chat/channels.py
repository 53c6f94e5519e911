"""Names in Redis, and the shape of a hint. Pure: no connection is opened here.

A chat has two channels: hints ("something changed, versions are now …"), for everybody, and live parts, for streams.
A connection that listens to both gets them in the order in which they happened. Every key has a time to live.
"""

import json
from dataclasses import dataclass, fields
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

EPISODE_KEPT = 600
"""Seconds that an episode outlives its last part, for clients that come back."""


def hint_channel(chat_id: UUID | str) -> str:
    return f"chatd:hints:{chat_id}"


def part_channel(chat_id: UUID | str) -> str:
    return f"chatd:parts:{chat_id}"


def episode_key(chat_id: UUID | str, history_version: int, generation_attempt: int) -> str:
    return f"chatd:episode:{chat_id}:{history_version}:{generation_attempt}"


@dataclass(frozen=True, slots=True)
class Hint:
    """What a chat row says after a commit: ids and versions only, never content."""

    chat_id: str
    snapshot_version: int
    history_version: int
    queue_version: int
    retry_state_version: int
    generation_attempt: int
    status: str
    archived: bool
    worker_id: str | None
    runner_id: str | None

    @classmethod
    def of(cls, chat: Any) -> "Hint":
        """From a chat row."""
        return cls(
            chat_id=str(chat.id),
            snapshot_version=chat.snapshot_version,
            history_version=chat.history_version,
            queue_version=chat.queue_version,
            retry_state_version=chat.retry_state_version,
            generation_attempt=chat.generation_attempt,
            status=str(chat.status),
            archived=chat.archived,
            worker_id=str(chat.worker_id) if chat.worker_id else None,
            runner_id=str(chat.runner_id) if chat.runner_id else None,
        )

    def encode(self) -> str:
        return json.dumps({name: getattr(self, name) for name in _HINT}, separators=(",", ":"))


_HINT = [field.name for field in fields(Hint)]


@dataclass(frozen=True, slots=True)
class LivePart:
    """One part of an episode, as the writer published it."""

    history_version: int
    generation_attempt: int
    seq: int
    role: str
    part: dict[str, Any]


def decode_hint(payload: bytes | str) -> Hint | None:
    """None for what another release may say."""
    return _decode(Hint, payload)


def decode_part(payload: bytes | str) -> LivePart | None:
    return _decode(LivePart, payload)


def _decode(kind: type[T], payload: bytes | str) -> T | None:
    try:
        notice = json.loads(payload)
        return kind(**{field.name: notice[field.name] for field in fields(kind)})  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError):
        return None
