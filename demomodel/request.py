"""The body of a chat-completions request, read and checked as far as the demo model needs it.

Pure. Raises `ApiError` (400) for what the OpenAI API refuses too; ignores fields it does not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from demomodel.conversation import Conversation, calls_of, read_conversation, text_of
from demomodel.errors import ApiError


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What was asked; `identity` is equal for a request that is made again and different for any other."""

    model: str
    stream: bool
    include_usage: bool
    max_tokens: int | None
    conversation: Conversation
    messages: tuple[dict[str, Any], ...]

    @property
    def prompt_tokens(self) -> int:
        """An estimate: the words of all messages and of the arguments of their calls."""
        return sum(len(text.split()) for text in _texts(self.messages))

    @property
    def identity(self) -> bytes:
        """A digest of system texts, last user message, and length of the conversation."""
        system = [message.get("content") for message in self.messages if message.get("role") == "system"]
        parts = [len(self.messages), self.conversation.prompt, [text_of(content) for content in system]]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def read_request(body: bytes) -> ChatRequest:
    """Read a request's JSON.

    Raises:
        ApiError: 400, if it is not JSON or lacks a model or messages.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "We could not parse the JSON body of your request.") from None
    if not isinstance(data, dict):
        raise ApiError(400, "The body of the request must be a JSON object.")
    model, messages = data.get("model"), data.get("messages")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "You must provide a model parameter.")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "'messages' must be an array with at least one message.")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise ApiError(400, "Each of 'messages' must be an object with a role.")
    tools, options = data.get("tools"), data.get("stream_options")
    return ChatRequest(
        model=model,
        stream=data.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=_limit(data.get("max_completion_tokens"), data.get("max_tokens")),
        conversation=read_conversation(messages, tools if isinstance(tools, list) else ()),
        messages=tuple(messages),
    )


def _limit(*limits: object) -> int | None:
    for limit in limits:
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None


def _texts(messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        yield text_of(message.get("content"))
        for call in calls_of(message):
            if isinstance(function := call.get("function"), dict):
                yield str(function.get("arguments", ""))
