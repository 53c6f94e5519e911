"""A script as the bytes of the chat-completions protocol: server-sent events, or one JSON object.

Pure: whoever calls hands in ids and times. The hot path is text in many small chunks: what all events of one
answer share is encoded once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from demomodel.errors import ApiError
from demomodel.script import Script, ToolCall, count_words

DONE = b"data: [DONE]\n\n"
FRAGMENT = 12  # characters of arguments in one event

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every event of one answer repeats, and the ids its tool calls will carry."""

    id: str
    created: int
    model: str
    call_ids: tuple[str, ...]
    prompt_tokens: int


def opening_event(envelope: Envelope) -> bytes:
    """The first event: the role."""
    return _event(envelope, '{"role":"assistant","content":""}')


def content_events(script: Script, envelope: Envelope) -> list[bytes]:
    """One event per chunk of reasoning and text, then the calls in fragments of their arguments."""
    head, tail = _frame(envelope)
    events = [f'{head}{{"reasoning_content":{_encode(chunk)}}}{tail}'.encode() for chunk in script.reasoning]
    head_of_text, tail_of_text = f'{head}{{"content":', f"}}{tail}"
    events += [f"{head_of_text}{_encode(chunk)}{tail_of_text}".encode() for chunk in script.text]
    for index, (call, call_id) in enumerate(zip(script.calls, envelope.call_ids, strict=True)):
        events += [
            f'{head}{{"tool_calls":[{_encode(delta)}]}}{tail}'.encode() for delta in _call_deltas(call, call_id, index)
        ]
    return events


def closing_events(script: Script, envelope: Envelope, *, include_usage: bool) -> bytes:
    """The finish reason, the usage if it was asked for, and [DONE]."""
    events = _event(envelope, "{}", finish_reason=f'"{script.finish_reason}"')
    if include_usage:
        data = _header(envelope, "chat.completion.chunk") | {"choices": [], "usage": usage(script, envelope)}
        events += b"data: %b\n\n" % _encode(data).encode()
    return events + DONE


def error_event(error: ApiError) -> bytes:
    """An error in the middle of a stream that began well."""
    return b"data: %b\n\n" % _encode(error.as_json()).encode()


def completion(script: Script, envelope: Envelope) -> bytes:
    """The whole answer as one JSON object."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": "".join(script.text) or None,
        "refusal": None,
    }
    if script.reasoning:
        message["reasoning_content"] = "".join(script.reasoning)
    if script.calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call, call_id in zip(script.calls, envelope.call_ids, strict=True)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": script.finish_reason}
    data = _header(envelope, "chat.completion") | {"choices": [choice], "usage": usage(script, envelope)}
    return _encode(data).encode()


def usage(script: Script, envelope: Envelope) -> dict[str, object]:
    """Tokens, estimated as words."""
    reasoning = count_words(script.reasoning)
    answered = count_words(script.text) + sum(len(call.arguments.split()) + 1 for call in script.calls)
    return {
        "prompt_tokens": envelope.prompt_tokens,
        "completion_tokens": reasoning + answered,
        "total_tokens": envelope.prompt_tokens + reasoning + answered,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _call_deltas(call: ToolCall, call_id: str, index: int) -> Iterator[dict[str, object]]:
    function = {"name": call.name, "arguments": ""}
    yield {"index": index, "id": call_id, "type": "function", "function": function}
    for start in range(0, len(call.arguments), FRAGMENT):
        yield {"index": index, "function": {"arguments": call.arguments[start : start + FRAGMENT]}}


def _event(envelope: Envelope, delta: str, finish_reason: str = "null") -> bytes:
    head, tail = _frame(envelope, finish_reason)
    return f"{head}{delta}{tail}".encode()


def _frame(envelope: Envelope, finish_reason: str = "null") -> tuple[str, str]:
    header = _encode(_header(envelope, "chat.completion.chunk"))[:-1]
    head = f'data: {header},"choices":[{{"index":0,"delta":'
    return head, f',"logprobs":null,"finish_reason":{finish_reason}}}]}}\n\n'


def _header(envelope: Envelope, kind: str) -> dict[str, object]:
    return {"id": envelope.id, "object": kind, "created": envelope.created, "model": envelope.model}
