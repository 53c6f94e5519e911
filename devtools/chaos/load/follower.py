"""Follows one chat over connections that break: comes back with its cursor, and keeps the screen.

A stream that says nothing for longer than the server's pings are apart is given up, as a browser's script would.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing

from devtools.bench.client import Connection, HttpError
from devtools.chaos.load.screen import Screen

COME_BACK_AFTER = 0.2
"""Seconds."""
SILENCE_LASTS = 30.0
"""Seconds without any event; pings, which are not events, come every 15."""


class Follower:
    """`async with Follower(url, token, chat_id, on_event) as follower: await follower.until(...)`."""

    def __init__(self, url: str, token: str, chat_id: str, on_event: Callable[[Screen], None]) -> None:
        self._url, self._token, self.chat_id = url, token, chat_id
        self._on_event = on_event
        self.screen = Screen()
        self.connections = 0
        self._cursor = ""
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Follower":
        self._task = asyncio.create_task(self._follow(), name=f"follower-{self.chat_id}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def until(self, holds: Callable[[Screen], bool], *, within: float) -> bool:
        """Whether `holds` of the screen, before so many seconds have passed without a new message."""
        async with self._news:
            while not holds(self.screen):
                try:
                    async with asyncio.timeout(within):
                        await self._holds_or_more_than(len(self.screen.messages), holds)
                except TimeoutError:
                    return False
        return True

    async def _holds_or_more_than(self, known: int, holds: Callable[[Screen], bool]) -> None:
        await self._news.wait_for(lambda: holds(self.screen) or len(self.screen.messages) != known)

    async def _follow(self) -> None:
        while True:
            connection = Connection(self._url, self._token)
            self.connections += 1
            try:
                await self._listen(connection)
            except HttpError as error:
                self.screen.refuse(error.status)
            except (OSError, EOFError, ValueError):
                pass  # the server is gone, or silent: come back
            finally:
                await connection.close()
            await asyncio.sleep(COME_BACK_AFTER)

    async def _listen(self, connection: Connection) -> None:
        async with aclosing(connection.events(f"/api/v1/chats/{self.chat_id}/stream", self._cursor)) as events:
            while True:
                try:
                    async with asyncio.timeout(SILENCE_LASTS):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                async with self._news:
                    self._cursor = event.cursor
                    self.screen.receive(event.name, event.data)
                    self._on_event(self.screen)
                    self._news.notify_all()
