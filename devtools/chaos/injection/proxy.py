"""A TCP proxy before Postgres or Redis that behaves as networks do on a bad day.

    with running_proxy("/run/postgres/.s.PGSQL.5432") as proxy:      # or ("127.0.0.1", 6379)
        proxy.behave("drop")

    pass            every byte, at once
    delay SECONDS   every chunk that much later, in both directions
    drop            a black hole: connections are accepted and bytes taken, none arrives; new and old ones alike
    refuse          nobody listens: a new connection is refused, old ones go on
    cut             every connection is reset now, in both directions; new ones pass

Bytes that a black hole has taken arrive when it ends, as after a partition, unless the connection is cut first. Each
proxy has an event loop in a thread of its own; `proxy_process.py` has it in a process of its own.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

R = TypeVar("R")
Target = str | tuple[str, int]
"""A unix socket's path, or host and port."""

MODES = ("pass", "delay", "drop", "refuse", "cut")
CHUNK = 65536
HOST = "127.0.0.1"
CALL_TIMEOUT = 10.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing discards what is unsent and sends RST."""


class Proxy:
    """Owned by one event loop; the methods that other threads may call say so."""

    def __init__(self, target: Target, *, port: int = 0) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        """Connections: accepted, reset."""
        self._target = target
        self._delay = 0.0
        self._passes = asyncio.Event()
        self._passes.set()
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def behave(self, mode: str, seconds: float = 0.0) -> None:
        """From now on. Raises `ValueError` for what is no mode."""
        if mode not in MODES:
            raise ValueError(f"{mode!r} is none of {', '.join(MODES)}")
        self._delay = seconds if mode == "delay" else 0.0
        if mode == "drop":
            self._passes.clear()
        else:
            self._passes.set()
        if mode == "refuse":
            await self._stop_listening()
        elif self._server is None:
            await self.start()
        if mode == "cut":
            self._reset()

    async def close(self) -> None:
        await self._stop_listening()
        self._reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()  # not wait_closed: it would wait for the connections, which go on
            self._server = None

    def _reset(self) -> None:
        for writer in list(self._streams):
            self.counts["reset"] += 1
            transport = writer.transport
            with contextlib.suppress(OSError):  # a unix socket, or one that is gone
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["accepted"] += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._streams.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._passes.wait()
            back, there = await self._connect()
            self._streams.add(there)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there))
                group.create_task(self._pump(back, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for stream in filter(None, (writer, there)):
                self._streams.discard(stream)
                stream.transport.abort()
            self._tasks.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while chunk := await source.read(CHUNK):
            await self._passes.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            sink.write(chunk)
            await sink.drain()
        raise ConnectionResetError("one side has ended: so does the other")


class ProxyThread:
    """A proxy and the thread that its loop runs in; every method may be called from any thread."""

    def __init__(self, target: Target, *, port: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._proxy: Proxy = self._call(self._begin(target, port))
        self.port, self.counts = self._proxy.port, self._proxy.counts

    @staticmethod
    async def _begin(target: Target, port: int) -> Proxy:
        proxy = Proxy(target, port=port)
        await proxy.start()
        return proxy

    def behave(self, mode: str, seconds: float = 0.0) -> None:
        """See the head of this file; returns when it is so. Raises `ValueError`."""
        self._call(self._proxy.behave(mode, seconds))

    def close(self) -> None:
        self._call(self._proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_TIMEOUT)


@contextmanager
def running_proxy(target: Target, *, port: int = 0) -> Iterator[ProxyThread]:
    """A proxy on `port` of 127.0.0.1, or on a free one (`proxy.port`)."""
    proxy = ProxyThread(target, port=port)
    try:
        yield proxy
    finally:
        proxy.close()
