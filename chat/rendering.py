"""Rows as the contract shows them (docs/api.md): ids as strings, times in RFC 3339 UTC, nothing internal. Pure.

Takes plain rows (dicts by column, as `chat.snapshot` reads them) and a chat row; the API and the stream use the same
functions, so that both say the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chat.content import outstanding_calls, shown


def time(value: datetime | str | None) -> str | None:
    """RFC 3339 in UTC, with "Z"."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def message(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "role": row["role"],
        "parts": shown(row["parts"]),
        "visibility": row["visibility"],
        "revision": row["revision"],
        "model": row["model"] or None,
        "usage": row["usage"],
        "interrupted": row["interrupted"],
        "created_at": time(row["created_at"]),
    }


def queue(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`rows`: queued messages in their order."""
    return [queued_message(row, place) for place, row in enumerate(rows, start=1)]


def queued_message(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    """`place`: in the queue, 1 for the head; what the row calls `position` is a number to sort by."""
    return {
        "id": str(row["id"]),
        "parts": shown(row["parts"]),
        "position": place,
        "steering": row["steering"],
        "model": row["model"] or None,
        "created_at": time(row["created_at"]),
    }


def chat(row: Any, state: str, *, usage: Mapping[str, Any] | None = None, place: int | None = None) -> dict[str, Any]:
    """`row`: a chat row; `state`: its shorthand ("R1"); `usage`: summed over its messages; `place`: in the line of
    those that wait for capacity, None outside it.
    """
    return {
        "id": str(row.id),
        "title": row.title,
        "status": str(row.status),
        "state": str(state),
        "archived": row.archived,
        "pinned": row.pin_order > 0,
        "labels": row.labels,
        "model": row.model,
        "parent_id": str(row.parent_id) if row.parent_id else None,
        "snapshot_version": row.snapshot_version,
        "history_version": row.history_version,
        "queue_version": row.queue_version,
        "generation_attempt": row.generation_attempt,
        "retry_state": row.retry_state,
        "last_error": row.last_error,
        "requires_action": (
            {"deadline_at": time(row.requires_action_deadline_at)} if row.status == "requires_action" else None
        ),
        "waiting_for_capacity": None if place is None else {"position": place},
        "usage": usage,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def status(row: Any, state: str) -> dict[str, Any]:
    """The `status` event."""
    return {
        "status": str(row.status),
        "state": str(state),
        "archived": row.archived,
        "snapshot_version": row.snapshot_version,
        "history_version": row.history_version,
        "queue_version": row.queue_version,
        "generation_attempt": row.generation_attempt,
    }


def client_calls(row: Any, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outstanding calls that the client must answer; `messages`: rows, at least from the last answer on."""
    names = {tool["name"] for tool in row.client_tools}
    in_order = sorted(messages, key=lambda message: message["id"])
    tail = [(message["role"], message["parts"]) for message in in_order if not message.get("deleted")]
    return [
        {key: call.get(key) for key in ("tool_call_id", "tool_name", "args")}
        for call in outstanding_calls(tail)
        if call["tool_name"] in names
    ]
