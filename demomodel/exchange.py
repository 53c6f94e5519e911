"""One HTTP exchange over plain ASGI: reading a body, answering with JSON.

Knows nothing of models. A client that leaves while its body is read raises `ClientLeft`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from demomodel.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST_BODY = 32 * 1024 * 1024


class ClientLeft(Exception):
    """The client closed the connection before it was answered; there is nobody to tell."""


async def read_body(receive: Receive) -> bytes:
    """The whole request body.

    Raises:
        ApiError: 413, if it is larger than `LARGEST_BODY`.
        ClientLeft: the connection closed first.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise ApiError(413, f"The request is larger than {LARGEST_BODY} bytes.")
        if not message.get("more_body", False):
            return b"".join(parts)


async def client_leaves(receive: Receive) -> None:
    """Return when the client has closed the connection, or the response is complete."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer_json(send: Send, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """Send a whole JSON response."""
    await start_json(send, len(body), status=status, headers=headers)
    await send({"type": "http.response.body", "body": body})


async def answer_error(send: Send, error: ApiError) -> None:
    """Send an error as the OpenAI API words it."""
    body = json.dumps(error.as_json()).encode()
    await answer_json(send, body, status=error.status, headers=error.headers)


async def start_json(send: Send, length: int, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """Send the head of a JSON response of this length."""
    lines = {"content-type": "application/json", "content-length": str(length), **(headers or {})}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(lines)})


async def start_events(send: Send) -> None:
    """Send the head of a stream of server-sent events."""
    lines = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    await send({"type": "http.response.start", "status": 200, "headers": _encoded(lines)})


def _encoded(lines: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
