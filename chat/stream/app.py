"""`GET /api/v1/chats/{id}/stream`: the SSE endpoint, as an ASGI application of its own.

It stands before Django because a stream there would hold a thread, and a database connection, for as long as it is
open. Here an idle stream holds neither. Everything else goes on to `otherwise`.
"""

import asyncio
import contextlib
import re
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from chat import sse
from chat.api.access import authenticate, owned_chat
from chat.api.problems import Unavailable, problem_of
from chat.errors import ChatRefusal
from chat.outage import DATABASE_AWAY
from chat.stream.client import Client
from chat.stream.hub import Hub
from chat.timeline import NOTHING, decode_cursor

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
"""Any ASGI application, whatever it calls its types."""

PING_EVERY = 15.0
_PATH = re.compile(r"^/api/v1/chats/([^/]+)/stream$")


class StreamApplication:
    """ASGI: streams here, everything else to `otherwise`. The hub lives as long as the server (lifespan)."""

    def __init__(
        self, otherwise: Application, *, make_hub: Callable[[], Hub] = Hub, ping_every: float = PING_EVERY
    ) -> None:
        self._otherwise = otherwise
        self._make_hub = make_hub
        self._ping_every = ping_every
        self._hub: Hub | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and (match := _PATH.match(scope["path"])):
            await self._stream(scope, match[1], receive, send)
        else:
            await self._otherwise(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._make_hub() as self._hub:
            _call_at_signal(self._hub.end_streams)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        self._hub = None
        await send({"type": "lifespan.shutdown.complete"})

    async def _stream(self, scope: Scope, chat_id: str, receive: Receive, send: Send) -> None:
        assert self._hub is not None, "the server does not support lifespan"
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        try:
            known_id = await self._hub.database.run(_allowed, headers, chat_id)
        except ChatRefusal as refusal:
            await _refuse(refusal, scope["path"], send)
            return
        except DATABASE_AWAY:
            await _refuse(Unavailable(), scope["path"], send)
            return
        cursor = headers.get("last-event-id") or query.get("cursor")
        client = self._hub.watch(known_id, decode_cursor(cursor) if cursor else NOTHING)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": sse.HEADERS})
            async with asyncio.TaskGroup() as group:
                gone = group.create_task(_until_disconnect(receive), name="stream-disconnect")
                deliver = group.create_task(
                    _deliver(client, send, until_idle=query.get("until") == "idle", ping_every=self._ping_every),
                    name="stream-deliver",
                )
                gone.add_done_callback(lambda _: deliver.cancel())
                deliver.add_done_callback(lambda _: gone.cancel())
        finally:
            self._hub.unwatch(client)


def _call_at_signal(end_streams: Callable[[], None]) -> None:
    """End the streams as soon as the server is told to stop.

    A server waits for open responses before it announces its shutdown, and a stream never ends by itself. Its own
    handlers stay: ours call them. Where signals are somebody else's (a test's thread), nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        served = signal.getsignal(number)

        def handler(signum: int, frame: FrameType | None, served: Any = served) -> None:
            loop.call_soon_threadsafe(end_streams)
            if callable(served):
                served(signum, frame)

        if callable(served):  # a server handles it; without one the default action is right
            signal.signal(number, handler)


def _allowed(headers: dict[str, str], chat_id: str) -> UUID:
    user = authenticate(headers.get("authorization", ""), headers.get("cookie", ""))
    return owned_chat(user, chat_id)


async def _deliver(client: Client, send: Send, *, until_idle: bool, ping_every: float) -> None:
    """Everything that comes for the client, until it is dropped, or the chat is idle where that ends the stream."""
    with contextlib.suppress(OSError):  # the client is gone: the server says so on the other side too
        while True:
            data = await client.take(within=ping_every)
            done = client.ended or (until_idle and client.rests)
            if data or not done:
                await send({"type": "http.response.body", "body": data or sse.PING, "more_body": True})
            if done:
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(refusal: ChatRefusal, path: str, send: Send) -> None:
    status, headers, body = problem_of(refusal, path)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
