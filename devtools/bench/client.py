"""A lean HTTP client for measuring: one keep-alive connection for requests, one stream per chat.

Hand-made on asyncio streams because the machine that measures also serves: a general client's own work would be a
good part of the figures. Speaks only what Chatd answers: Content-Length and chunked bodies.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class SseEvent:
    name: str
    data: dict[str, Any]
    cursor: str
    at: float
    """`time.perf_counter()` when its last byte was read."""


class HttpError(Exception):
    """An answer that is not a success; its body is the message."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One connection at a time; requests on it follow one another."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._token = token
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer. Raises `HttpError`, `OSError`."""
        reader = await self._send(method, path, body)
        status, headers = await _head(reader)
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if status >= 400:
            raise HttpError(f"{method} {path}: {status} {raw.decode()}", status)
        return json.loads(raw) if raw else None

    async def events(self, path: str, cursor: str = "") -> AsyncGenerator[SseEvent]:
        """The events of a stream until the server ends it."""
        reader = await self._send("GET", path, None, {"Last-Event-ID": cursor} if cursor else {})
        status, _ = await _head(reader)
        if status != 200:
            raise HttpError(f"GET {path}: {status}", status)
        buffer = b""
        while chunk := await _chunk(reader):
            buffer += chunk
            *frames, buffer = buffer.split(b"\n\n")
            for frame in frames:
                if event := _event(frame.decode()):
                    yield event

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> asyncio.StreamReader:
        if self._writer is None or self._reader is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**20)
        raw = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Authorization: Bearer {self._token}"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        self._writer.write("\r\n".join([*head, "", ""]).encode() + raw)
        await self._writer.drain()
        return self._reader


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline()) or b"0", 16)
    chunk = await reader.readexactly(size)
    await reader.readline()
    return chunk


def _event(frame: str) -> SseEvent | None:
    fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line and not line.startswith(":"))
    if "event" not in fields:
        return None
    return SseEvent(fields["event"], json.loads(fields["data"]), fields.get("id", ""), time.perf_counter())
