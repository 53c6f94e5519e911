"""A client as the tests need it: follows a chat, keeps what a person would see, comes back by cursor."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from devtools.bench.client import Connection, HttpError, SseEvent

COME_BACK_AFTER = 0.1


class Reader:
    """`async with Reader(url, token, chat_id) as reader: await reader.until(...)`."""

    def __init__(self, url: str, token: str, chat_id: str) -> None:
        self._url, self._token, self.chat_id = url, token, chat_id
        self.events: list[SseEvent] = []
        self.connections = 0
        self.preview = ""
        """The live text since the last preview_reset."""
        self.previews: list[str] = []
        """The live texts that a preview_reset ended."""
        self.messages: dict[str, dict[str, Any]] = {}
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Reader":
        self._task = asyncio.create_task(self._follow(), name=f"reader-{self.chat_id}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def until(self, holds: Callable[["Reader"], bool], *, within: float) -> None:
        """Wait until `holds` of what has been received, at most `within` seconds."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: holds(self))

    @property
    def status(self) -> str:
        return next((event.data["status"] for event in reversed(self.events) if event.name == "status"), "")

    def answers(self) -> list[str]:
        """The texts of the assistant's messages."""
        return [text(message) for message in self.messages.values() if message["role"] == "assistant"]

    async def _follow(self) -> None:
        while True:
            cursor = self.events[-1].cursor if self.events else ""
            connection = Connection(self._url, self._token)
            try:
                self.connections += 1
                async with aclosing(connection.events(f"/api/v1/chats/{self.chat_id}/stream", cursor)) as events:
                    async for event in events:
                        await self._receive(event)
            except (OSError, EOFError, HttpError, ValueError):
                pass  # the server is gone: come back
            finally:
                await connection.close()
            await asyncio.sleep(COME_BACK_AFTER)

    async def _receive(self, event: SseEvent) -> None:
        async with self._news:
            self.events.append(event)
            if event.name == "history_reset":
                self.messages.clear()
            elif event.name == "message":
                self.messages[event.data["message"]["id"]] = event.data["message"]
            elif event.name == "preview_reset":
                self.previews.append(self.preview)
                self.preview = ""
            elif event.name == "message_part":
                self.preview += event.data["part"].get("text", "")
            self._news.notify_all()


def text(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")
