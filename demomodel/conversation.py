"""What decides an answer: the last question, how far its turn has come, what the tools answered.

Pure. Knows nothing of directives. Messages of unexpected shape are read as empty, never refused: a provider
double that is pickier than the provider would hide faults of the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one tool call answered."""

    tool_name: str
    output: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """The part of a request that decides the answer.

    `step` counts the rounds of tool calls since the last user message: 0 for the first request of a turn.
    `results` are the answers to the latest round, empty unless the request ends with tool results.
    """

    prompt: str
    step: int = 0
    results: tuple[ToolResult, ...] = ()
    tools: tuple[str, ...] = ()


def read_conversation(messages: Sequence[Message], tools: Sequence[Any] = ()) -> Conversation:
    """Read the last user message, the steps since then and the latest tool results."""
    start = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    turn = messages[start + 1 :]
    called: dict[str, str] = {}
    results: list[ToolResult] = []
    step = 0
    for message in turn:
        if message.get("role") == "tool":
            call_id = str(message.get("tool_call_id"))
            results.append(ToolResult(called.get(call_id, "tool"), text_of(message.get("content"))))
            continue
        results = []
        if message.get("role") == "assistant" and message.get("tool_calls"):
            step += 1
            called.update((str(call.get("id")), _function_name(call)) for call in calls_of(message))
    return Conversation(
        prompt=text_of(messages[start].get("content")) if start >= 0 else "",
        step=step,
        results=tuple(results),
        tools=tuple(name for tool in tools if (name := _function_name(tool))),
    )


def text_of(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def calls_of(message: Message) -> list[dict[str, Any]]:
    """The tool calls of an assistant message."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _function_name(tool: object) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""
