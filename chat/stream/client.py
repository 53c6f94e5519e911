"""One reader of one chat: what it has seen, and what is on its way to it."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

from chat.timeline import View

SLOW_AFTER = 10.0
"""Seconds that a reader may leave its outbox untouched before it is dropped; it comes back by cursor."""
OUTBOX_BYTES = 8 * 1024 * 1024
"""What may wait for one reader: more than any one synchronisation of an ordinary chat, less than hurts the process."""


class Client:
    """The feed puts bytes in, the endpoint takes them out; neither waits for the other."""

    def __init__(self, chat_id: UUID, view: View, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.chat_id = chat_id
        self.view = view
        self._idle = False
        self._clock = clock
        self._outbox: list[bytes] = []
        self._size = 0
        self._waiting_since = 0.0
        self._news = asyncio.Event()
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def rests(self) -> bool:
        """The chat needs nobody, and nothing waits for this reader."""
        return self._idle and not self._outbox

    def mark_idle(self, idle: bool) -> None:
        """Called after everything that led to this state was put in the outbox."""
        if idle and not self._idle:
            self._news.set()
        self._idle = idle

    def put(self, data: bytes) -> None:
        if self._ended:
            return
        now = self._clock()
        if not self._outbox:
            self._waiting_since = now
        elif self._size + len(data) > OUTBOX_BYTES or now - self._waiting_since > SLOW_AFTER:
            self.end()
            return
        self._outbox.append(data)
        self._size += len(data)
        self._news.set()

    def end(self) -> None:
        """Nothing more comes; what is in the outbox may still be taken."""
        self._ended = True
        self._news.set()

    async def take(self, *, within: float) -> bytes:
        """All that waits, as soon as there is something; b"" after `within` seconds, at rest, or at the end."""
        if not self._outbox and not self._ended:
            try:
                async with asyncio.timeout(within):
                    await self._news.wait()
            except TimeoutError:
                return b""
        data = b"".join(self._outbox)
        self._outbox.clear()
        self._size = 0
        if not self._ended:
            self._news.clear()
        return data
