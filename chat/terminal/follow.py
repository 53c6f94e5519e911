"""One chat followed to its rest, in this process: the same hub as the web process, without HTTP.

A reader like any other: it may leave at any time and the chat goes on. Only `stop` (Ctrl-C) changes the chat, through
the transition; then it waits until what was streamed is saved. Asked a second time, it leaves at once.
"""

import asyncio
import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from uuid import UUID

from django.db import DatabaseError

from chat.errors import ChatRefusal
from chat.execution import RUNNABLE
from chat.snapshot import ChatSnapshot, read_snapshot
from chat.stopping import stop_chat
from chat.stream.client import Client
from chat.stream.hub import Hub
from chat.timeline import View, decode_cursor
from chat.update import chat_read

POLL_EVERY = 2.0
"""Seconds between readings without a hint: one person at one terminal may have it more often than a server."""

NO_WORKER = (
    "Nobody has picked the chat up: no chat worker seems to run. Start one in another terminal, with `./dev up` or "
    "`celery -A config worker`. The message is saved; this command goes on waiting."
)
WORKER_LOST = "The worker that had the chat gives no sign of life. Another one takes over when its lease has expired."
STOPPING = "Stopping: waiting until what was written is saved. Ctrl-C again leaves at once."
LEFT = "Left. The stop stays requested; a chat worker saves what was written."


class Reader(Protocol):
    """Whoever tells a person, or a program, what happens."""

    def event(self, name: str, data: dict[str, Any]) -> None: ...
    def tick(self) -> None:
        """Called every now and then while nothing happens."""

    def hint(self, text: str) -> None:
        """Something about the surroundings that the person should know."""


class Follower:
    """`view` is what the reader knows already. `hint_after`: seconds of silence after which it looks for a worker."""

    def __init__(
        self,
        chat_id: UUID,
        view: View,
        reader: Reader,
        *,
        hint_after: float = 5.0,
        tick_every: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopped = False
        """Whether this reader stopped the chat."""
        self._chat_id = chat_id
        self._view = view
        self._reader = reader
        self._hint_after = hint_after
        self._tick_every = min(tick_every, hint_after)
        self._clock = clock
        self._asked_to_stop = 0
        self._stop_asked = asyncio.Event()
        self._stopped_at: int | None = None  # the history version that was stopped
        self._hinted: set[str] = set()

    async def run(self) -> ChatSnapshot:
        """Follow until the chat rests, or the stop is done; the chat as it is then. Raises `ChatNotFound`."""
        async with Hub(poll_every=POLL_EVERY) as hub:
            with _on_ctrl_c(self.stop):
                client = hub.watch(self._chat_id, self._view)
                stopping = asyncio.create_task(self._stop_when_asked(hub), name="stop")
                try:
                    await self._read(hub, client)
                finally:
                    stopping.cancel()
                    await asyncio.gather(stopping, return_exceptions=True)
            return await hub.database.run(chat_read, self._chat_id)

    def stop(self) -> None:
        """Called from the event loop's thread: at Ctrl-C."""
        self._asked_to_stop += 1
        self._reader.hint(STOPPING if self._asked_to_stop == 1 else LEFT)
        self._stop_asked.set()

    @property
    def left(self) -> bool:
        return self._asked_to_stop > 1

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _read(self, hub: Hub, client: Client) -> None:
        heard_at = self._clock()
        try:
            while not self.left:
                data = await client.take(within=self._tick_every)
                for name, event in self._decode(data):
                    self._reader.event(name, event)
                if client.ended:  # too slow, or the feed failed: come back by cursor
                    hub.unwatch(client)
                    await asyncio.sleep(self._tick_every)
                    await hub.database.run(chat_read, self._chat_id)
                    client = hub.watch(self._chat_id, self._view)
                elif client.rests or (self._stop_is_done(client) and not data):
                    return
                elif data:
                    heard_at = self._clock()
                else:
                    if not self._asked_to_stop:
                        self._reader.tick()
                    if self._clock() - heard_at >= self._hint_after:
                        await self._look_for_a_worker(hub)
        finally:
            hub.unwatch(client)

    def _decode(self, data: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events in `data`, which are always whole; remembers the cursor of the last one."""
        for block in data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "event" in fields:
                self._view = decode_cursor(fields["id"])
                yield fields["event"], json.loads(fields["data"])

    async def _look_for_a_worker(self, hub: Hub) -> None:
        with contextlib.suppress(DatabaseError):
            hint = await hub.database.run(_missing_worker, self._chat_id)
            if hint and hint not in self._hinted:
                self._hinted.add(hint)
                self._reader.hint(hint)

    # --- Ctrl-C --------------------------------------------------------------------------------------------------

    async def _stop_when_asked(self, hub: Hub) -> None:
        await self._stop_asked.wait()
        while True:
            try:
                self.stopped, self._stopped_at = await hub.database.run(interrupt, self._chat_id)
                return
            except DatabaseError:
                await asyncio.sleep(self._tick_every)

    def _stop_is_done(self, client: Client) -> bool:
        """The history has moved beyond what was stopped; the queue's next message may be under way already."""
        return self._stopped_at is not None and client.view.history_version > self._stopped_at


def _missing_worker(chat_id: UUID) -> str:
    snapshot = read_snapshot(chat_id, after_revision=2**62)
    if snapshot.state not in RUNNABLE or snapshot.has_fresh_lease:
        return ""
    return NO_WORKER if snapshot.chat.runner_id is None else WORKER_LOST


def interrupt(chat_id: UUID) -> tuple[bool, int | None]:
    """Whether it was stopped now, and which history version; a chat that rests already is left alone."""
    try:
        update = stop_chat(chat_id)
        return True, update.chat.history_version - bool(update.history.added)
    except ChatRefusal:
        return False, None


@contextlib.contextmanager
def _on_ctrl_c(call: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `call` on the running loop; outside the main thread signals belong to somebody else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
