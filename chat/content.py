"""The parts of a message, typed: our own versioned schema, nothing of a provider's library in it. Pure.

A stored message holds a list of parts (`Part`). While an answer streams, its parts arrive as deltas that carry the
`index` of the part they belong to; `merge_deltas` folds them into parts exactly as a client does, so that what was
seen and what is saved are the same. `meta` is what a provider wants to get back (signatures, ids): kept, never shown.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from chat.errors import MessageInvalid

CONTENT_VERSION = 1
MAX_TEXT = 1_000_000
"""Characters of one text part: beyond any model's context, and small enough for one row."""

INTERRUPTED_BY_USER = "interrupted by user"
INTERRUPTED_BY_MESSAGE = "interrupted by new user message"
INTERRUPTED_BY_EDIT = "interrupted by message edit"
TIMED_OUT = "timed out"
INVALID_STATE = "canceled due to invalid chat state"
WORKER_LOST = "worker lost, outcome unknown"
INTERRUPTED_CALL = "interrupted before it produced a result"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Part):
    type: Literal["text"]
    text: Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class FilePart(_Part):
    type: Literal["file"]
    file_id: str
    media_type: str = ""
    name: str = ""


UserPart = Annotated[TextPart | FilePart, Field(discriminator="type")]
_user_parts: TypeAdapter[list[Any]] = TypeAdapter(Annotated[list[UserPart], Field(min_length=1, max_length=100)])


def user_parts(parts: Any) -> list[dict[str, Any]]:
    """`parts` as a user may send them, checked: at least one part, at least one with content.

    Raises `MessageInvalid`, also for text that no database or model takes (NUL, lone surrogates).
    """
    try:
        checked = _user_parts.validate_python(parts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(step)[:100] for step in first["loc"])
        raise MessageInvalid(f"parts.{where}: {first['msg']}" if where else first["msg"]) from None
    if all(isinstance(part, TextPart) and not part.text.strip() for part in checked):
        raise MessageInvalid("The message is empty: send at least one part with text.")
    plain = [part.model_dump() for part in checked]
    if plain != clean(plain):
        raise MessageInvalid("The text holds characters that cannot be stored (NUL or half a surrogate pair).")
    return plain


def clean_text(text: str) -> str:
    """`text` without what Postgres and UTF-8 refuse: NUL goes, half a surrogate pair becomes "?"."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def clean(value: Any) -> Any:
    """`clean_text` for every string inside a JSON value."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def text_of(parts: Iterable[dict[str, Any]]) -> str:
    """The visible text of a message, its parts joined by a space."""
    return " ".join(part["text"] for part in parts if part.get("type") == "text")


def shown(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """`parts` for a client: without what only the provider needs."""
    return [{key: value for key, value in part.items() if key != "meta"} for part in parts]


def tool_result(call: dict[str, Any], output: Any, *, is_error: bool, synthetic: bool = False) -> dict[str, Any]:
    """The part that answers `call` (a tool_call part)."""
    return {
        "type": "tool_result",
        "tool_call_id": call["tool_call_id"],
        "tool_name": call["tool_name"],
        "output": clean(output),
        "is_error": is_error,
        "synthetic": synthetic,
    }


def calls_in(parts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool calls in a message that need a result from us; the provider answers its own. An id is one call."""
    calls: dict[str, dict[str, Any]] = {}
    for part in parts:
        if part.get("type") == "tool_call" and not part.get("provider_executed"):
            calls.setdefault(part["tool_call_id"], part)
    return list(calls.values())


def outstanding_calls(tail: Iterable[tuple[str, Sequence[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """The calls of the last assistant message that no later tool message answers.

    `tail`: (role, parts) of the history's last rows in order, from the last assistant message or earlier.
    """
    calls: list[dict[str, Any]] = []
    for role, parts in tail:
        if role == "assistant":
            calls = calls_in(parts)
        elif role == "tool":
            answered = {part["tool_call_id"] for part in parts if part.get("type") == "tool_result"}
            calls = [call for call in calls if call["tool_call_id"] not in answered]
    return calls


_NAMED_BY = {
    "tool_call": ("tool_call_id", "tool_name"),
    "tool_result": ("tool_call_id", "tool_name"),
    "source": ("url",),
    "file": ("file_id",),
}
"""Parts that come whole, and what each must say."""


def is_delta(delta: dict[str, Any]) -> bool:
    """Whether anything can be made of it; `merge_deltas` leaves out what is none."""
    kind = delta.get("type")
    if not isinstance(delta.get("index"), int):
        return False
    if kind in ("text", "reasoning"):
        return isinstance(delta.get("text"), str)
    if kind == "tool_call_delta":
        return True
    return kind in _NAMED_BY and all(isinstance(delta.get(name), str) for name in _NAMED_BY[kind])


def merge_deltas(deltas: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts that a sequence of streamed deltas amounts to, in the order in which they began.

    Text and reasoning are concatenated by index; a final `tool_call` replaces its deltas; a call whose arguments
    never became whole stays out (it was never made). What is malformed is left out too.
    """
    merged: dict[int, dict[str, Any]] = {}
    for delta in filter(is_delta, deltas):
        kind, index = delta["type"], delta["index"]
        if kind in ("text", "reasoning"):
            part = merged.setdefault(index, {"type": kind, "text": ""})
            if part["type"] == kind:
                part["text"] += delta["text"]
        elif kind == "tool_call_delta":
            merged.setdefault(index, {"type": kind})
        else:
            merged[index] = {key: value for key, value in delta.items() if key != "index"}
    return [
        part
        for part in merged.values()
        if part["type"] != "tool_call_delta" and (part.get("text") or "text" not in part)
    ]
