"""A small client for an ASGI application in the same process: it reads server-sent events and can leave, or stall.

    async with served(application) as server:
        reader = server.get("/api/v1/chats/1/stream", authorization="Bearer …")
        name, data, cursor = await reader.event()
        await reader.leave()

Everything that is awaited has a limit.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

WITHIN = 5.0


class ServerSentEvent(NamedTuple):
    name: str
    data: dict[str, Any]
    cursor: str


class Reader:
    """One request and what came back."""

    def __init__(self, application: Any, path: str, query: str, headers: dict[str, str]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._pings: asyncio.Queue[bytes] = asyncio.Queue()
        self._events: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue()
        self._rest = b""
        self._started = asyncio.Event()
        self._left = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        self._task = asyncio.create_task(self._run(application, scope), name=f"reader of {path}")

    async def _run(self, application: Any, scope: dict[str, Any]) -> None:
        try:
            await application(scope, self._receive, self._send)
        finally:
            self._started.set()
            self._events.put_nowait(None)

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._started.set()
            return
        self.body += message["body"]
        *blocks, self._rest = (self._rest + message["body"]).split(b"\n\n")
        for block in blocks:
            if block.startswith(b":"):
                self._pings.put_nowait(block)
                continue
            lines = dict(line.split(": ", 1) for line in block.decode().split("\n"))
            self._events.put_nowait(ServerSentEvent(lines["event"], json.loads(lines["data"]), lines["id"]))

    async def event(self, within: float = WITHIN) -> ServerSentEvent:
        async with asyncio.timeout(within):
            event = await self._events.get()
        assert event is not None, f"the stream ended: {self.status} {self.body!r}"
        return event

    async def until(self, name: str) -> list[ServerSentEvent]:
        """The events up to the next one of that name."""
        events = [await self.event()]
        while events[-1].name != name:
            events.append(await self.event())
        return events

    async def pinged(self, times: int) -> None:
        async with asyncio.timeout(WITHIN):
            for _ in range(times):
                await self._pings.get()

    async def rest(self) -> list[ServerSentEvent]:
        """All events until the stream ends by itself."""
        events = []
        async with asyncio.timeout(WITHIN):
            while event := await self._events.get():
                events.append(event)
            await self._task
        return events

    def stall(self) -> None:
        """Read nothing any more, as a client behind a full socket."""
        self._reads.clear()

    async def leave(self) -> None:
        self._left.set()
        self._reads.set()
        async with asyncio.timeout(WITHIN):
            await self._task


class Server:
    def __init__(self, application: Any) -> None:
        self._application = application
        self.readers: list[Reader] = []

    def get(self, path: str, query: str = "", **headers: str) -> Reader:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reader = Reader(self._application, path, query, named)
        self.readers.append(reader)
        return reader

    async def answered(self, path: str, query: str = "", **headers: str) -> Reader:
        """A request whose answer has begun."""
        reader = self.get(path, query, **headers)
        async with asyncio.timeout(WITHIN):
            await reader._started.wait()
        return reader


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[Server]:
    """The application between its start-up and its shutdown; readers that are still there leave first."""
    to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    to_application.put_nowait({"type": "lifespan.startup"})
    lifespan = asyncio.create_task(application({"type": "lifespan"}, to_application.get, from_application.put))
    async with asyncio.timeout(WITHIN):
        assert (await from_application.get())["type"] == "lifespan.startup.complete"
    server = Server(application)
    try:
        yield server
    finally:
        for reader in server.readers:
            await reader.leave()
        to_application.put_nowait({"type": "lifespan.shutdown"})
        async with asyncio.timeout(WITHIN):
            await lifespan
