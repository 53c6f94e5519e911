"""The writing end of an episode: coalesces, remembers, and writes again what Redis forgot.

The first part goes out at once, later ones at most `COALESCE` seconds after they came, off the model's path. The size
is capped (`MAX_BYTES`), because Redis holds every running chat's parts at once.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from chat.crash import crash_point
from chat.episodes import (
    EpisodeClosed,
    EpisodeElsewhere,
    EpisodeFull,
    EpisodeId,
    EpisodeNotFound,
    EpisodeStore,
)
from chat.outage import REDIS_AWAY

logger = structlog.get_logger(__name__)

MAX_BYTES = 1024 * 1024
"""Of the JSON of `{seq, role, part}`, summed over an episode's parts."""
COALESCE = 0.025
"""Seconds that a part may wait for others to go with it."""
OUTAGE_PAUSE = 0.5
"""Seconds until the next try after Redis was away: every running chat tries, and each try may be a new connection."""


class EpisodeWriter:
    """The writing end of one episode, for as long as one model call streams.

    `add` never waits: it buffers, and the task inside `sending()` sends. All parts stay in memory until the end, so
    that an emptied Redis is written again. What was once handed to Redis is never changed, only appended to.
    """

    def __init__(
        self,
        store: EpisodeStore,
        episode: EpisodeId,
        *,
        role: str = "assistant",
        coalesce: float = COALESCE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.episode = episode
        self._max_bytes = max_bytes
        self._store = store
        self._role = role
        self._coalesce = coalesce
        self._parts: list[dict[str, Any]] = []
        self._handed = 0  # parts of a send that was begun, whatever became of it
        self._streamed = 0
        self._sent = 0
        self._bytes = 0
        self._full = False
        self._redis_is_away = False
        self._news = asyncio.Event()
        self._finished = asyncio.Event()
        self._closed = False

    @property
    def streamed(self) -> list[dict[str, Any]]:
        """What people saw, or would have seen had Redis been there."""
        return self._parts[: self._streamed]

    def add(self, part: dict[str, Any]) -> None:
        """Buffer one delta. Raises `EpisodeFull`, `EpisodeClosed`.

        An episode that was full once stays so: a preview that ends is better than one with a hole.
        """
        if self._closed:
            raise EpisodeClosed()
        continues = len(self._parts) > self._handed and _continues(self._parts[-1], part)
        if continues:
            size = _size(part["text"]) - len('""')
        else:
            size = _size({"seq": len(self._parts) + 1, "role": self._role, "part": part})
        if self._full or self._bytes + size > self._max_bytes:
            self._full = True
            raise EpisodeFull()
        self._bytes += size
        if continues:
            self._parts[-1] = {**self._parts[-1], "text": self._parts[-1]["text"] + part["text"]}
        else:
            self._parts.append(part)
        self._news.set()

    async def _send_until_finished(self) -> None:
        """Send what is added: the first part at once, later ones every `coalesce` seconds, the rest at the end."""
        while True:
            await self._news.wait()
            last = self._finished.is_set()  # read before the flush: what is added during it needs another one
            await self.flush()
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OUTAGE_PAUSE if self._redis_is_away else self._coalesce):
                    await self._finished.wait()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Parts are sent while inside. On a normal end all of them are; on an error or cancellation the rest never is.

        The sender is told to end, not cancelled: a cancelled call of Redis leaves open whether it happened.
        """
        sender = asyncio.create_task(self._send_until_finished(), name=f"send-{self.episode.key}")
        try:
            yield
        except BaseException:
            self._closed = True
            raise
        finally:
            self._finished.set()
            self._news.set()
            await asyncio.wait({sender})

    async def flush(self) -> None:
        """Send what is buffered. A Redis that is away is not an error: the parts go out when it is back."""
        self._news.clear()
        self._handed = until = len(self._parts)
        try:
            while not self._closed and self._sent < until:
                await self._send(until)
            self._redis_is_away = False
        except REDIS_AWAY as error:
            logger.debug("episode.not_sent", episode=self.episode.key, error=repr(error))
            self._redis_is_away = True
            self._streamed = until
            self._news.set()

    async def _send(self, until: int) -> None:
        crash_point("parts.append.before")
        try:
            await self._store.append(
                self.episode, self._sent, self._role, self._parts[self._sent : until], create=self._sent == 0
            )
            crash_point("parts.append.after")
            self._sent = until
            self._streamed = max(self._streamed, until)
        except EpisodeNotFound:
            self._sent = 0
        except EpisodeElsewhere as elsewhere:
            self._sent = min(elsewhere.ends_with, until)
            self._streamed = max(self._streamed, self._sent)
        except EpisodeClosed:
            self._closed = True  # somebody took over: what comes now was never streamed


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _continues(last: dict[str, Any], part: dict[str, Any]) -> bool:
    return (
        part.get("type") in ("text", "reasoning")
        and last.get("type") == part["type"]
        and last.get("index") == part.get("index")
    )
