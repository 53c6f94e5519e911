"""Our message parts as the library's, and back. What a provider wants returned travels in a part's `meta`."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic_ai import messages as lib
from pydantic_core import to_jsonable_python

from chat.content import clean
from chatworker.models.protocol import PromptMessage

_META = ("id", "signature", "provider_name", "provider_details")


def to_library(prompt: Iterable[PromptMessage], *, system: str, model: str) -> list[lib.ModelMessage]:
    """The conversation for `model` (PROVIDER:NAME); neighbouring requests become one, as providers demand."""
    history: list[lib.ModelMessage] = []
    if system:
        history.append(lib.ModelRequest(parts=[lib.SystemPromptPart(content=system)]))
    for message in prompt:
        if message.role == "assistant":
            parts = [_response_part(part, own=message.model == model) for part in message.parts]
            if answered := [part for part in parts if part is not None]:
                history.append(lib.ModelResponse(parts=answered))
            continue
        requests = [part for part in map(_request_part, [message.role] * len(message.parts), message.parts) if part]
        if not requests:
            continue
        if history and isinstance(history[-1], lib.ModelRequest):
            history[-1] = lib.ModelRequest(parts=[*history[-1].parts, *requests])
        else:
            history.append(lib.ModelRequest(parts=requests))
    return history


def _request_part(role: str, part: dict[str, Any]) -> lib.ModelRequestPart | None:
    if part["type"] == "tool_result":
        return lib.ToolReturnPart(
            tool_name=part["tool_name"],
            content=part["output"],
            tool_call_id=part["tool_call_id"],
            outcome="failed" if part.get("is_error") else "success",
        )
    if part["type"] == "text":
        kind = lib.SystemPromptPart if role == "system" else lib.UserPromptPart
        return kind(content=part["text"])
    return None


def _response_part(part: dict[str, Any], *, own: bool) -> lib.ModelResponsePart | None:
    meta = part.get("meta", {}) if own else {}
    kept = {name: meta[name] for name in _META if name in meta}
    if part["type"] == "text":
        kept.pop("signature", None)
        return lib.TextPart(content=part["text"], **kept)
    if part["type"] == "reasoning":
        return lib.ThinkingPart(content=part["text"], **kept) if own else None
    kept.pop("signature", None)
    if part["type"] == "tool_call":
        if part.get("provider_executed"):
            return (
                lib.NativeToolCallPart(part["tool_name"], part["args"], part["tool_call_id"], **kept) if own else None
            )
        return lib.ToolCallPart(part["tool_name"], part["args"], part["tool_call_id"], **kept)
    if part["type"] == "tool_result" and part.get("provider_executed") and own:
        kept.pop("id", None)
        return lib.NativeToolReturnPart(part["tool_name"], part["output"], part["tool_call_id"], **kept)
    return None


def from_library(part: Any) -> dict[str, Any] | None:
    """A finished part of an answer as ours; None for what has no content."""
    ours = _from_library(part)
    if ours is not None:
        meta = {name: clean(value) for name in _META if (value := getattr(part, name, None)) is not None}
        if meta:
            ours["meta"] = meta
    return ours


def _from_library(part: Any) -> dict[str, Any] | None:
    if isinstance(part, lib.TextPart):
        return {"type": "text", "text": clean(part.content)} if part.content else None
    if isinstance(part, lib.ThinkingPart):
        return {"type": "reasoning", "text": clean(part.content)} if part.content or part.signature else None
    if isinstance(part, lib.ToolCallPart | lib.NativeToolCallPart):
        call: dict[str, Any] = {
            "type": "tool_call",
            "tool_call_id": clean(part.tool_call_id),
            "tool_name": clean(part.tool_name),
            "args": clean(_arguments(part.args)),
        }
        if isinstance(part, lib.NativeToolCallPart):
            call["provider_executed"] = True
        return call
    if isinstance(part, lib.NativeToolReturnPart):
        return {
            "type": "tool_result",
            "tool_call_id": clean(part.tool_call_id),
            "tool_name": clean(part.tool_name),
            "output": clean(to_jsonable_python(part.content)),
            "is_error": False,
            "synthetic": False,
            "provider_executed": True,
        }
    return None


def _arguments(args: str | dict[str, Any] | None) -> Any:
    """A dict where the model wrote JSON; else its text as it stands, for the result to complain about."""
    if isinstance(args, str):
        try:
            parsed = json.loads(args or "{}")
        except ValueError:
            return args
        return parsed if isinstance(parsed, dict) else args
    return args or {}
