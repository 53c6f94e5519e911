"""Sends a script's answer at the script's pace, and ends it as the script says.

A cut is a return without the last body message: the ASGI server then closes the connection. Work for a client
that has left is cancelled. An answer without any pause is sent whole, without a task to watch the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from demomodel.errors import ApiError
from demomodel.exchange import (
    Receive,
    Send,
    answer_error,
    answer_json,
    client_leaves,
    start_events,
    start_json,
)
from demomodel.script import Ending, Script
from demomodel.wire import (
    Envelope,
    closing_events,
    completion,
    content_events,
    error_event,
    opening_event,
)

AT_ONCE = 256  # events in one write when there is no interval
SCRIPTED_ERROR = ApiError(502, "The demo model was told to fail here.", code="demo_error")


class Delivery:
    """The answers that are being sent, so that all of them can be cut when the server stops."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._writing: set[asyncio.Task[None]] = set()
        self._stopped = False

    def cut_all(self) -> None:
        """Stop sending; every open connection is closed in the middle of its answer."""
        self._stopped = True
        for task in self._writing:
            task.cancel()

    async def deliver(
        self,
        script: Script,
        envelope: Envelope,
        receive: Receive,
        send: Send,
        *,
        stream: bool,
        include_usage: bool,
    ) -> None:
        """Send the answer; returns when it is sent, cut, or no longer wanted.

        Raises:
            ApiError: 503, if the server is stopping.
        """
        if self._stopped:
            raise ApiError(503, "The demo model is stopping.")
        interval = self._interval if script.interval is None else script.interval
        if not stream:
            writing = _write_completion(script, envelope, send, interval)
        else:
            events = content_events(script, envelope)
            ending = closing_events(script, envelope, include_usage=include_usage)
            if _is_one_write(script, interval, len(events)):
                await start_events(send)
                body = b"".join((opening_event(envelope), *events, ending))
                await send({"type": "http.response.body", "body": body})
                return
            opening = opening_event(envelope)
            writing = _write_events(script, opening, events, ending, send, interval)
        await self._while_wanted(writing, receive)

    async def _while_wanted(self, writing: Coroutine[None, None, None], receive: Receive) -> None:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(writing, name="demomodel-writer")
            watcher = group.create_task(_cancel_when_client_leaves(writer, receive), name="demomodel-watcher")
            self._writing.add(writer)
            writer.add_done_callback(self._writing.discard)
            writer.add_done_callback(lambda _: watcher.cancel())


def _is_one_write(script: Script, interval: float, events: int) -> bool:
    paused = interval > 0 or script.first_token_after > 0
    return not paused and script.ending is Ending.COMPLETE and events <= AT_ONCE


async def _cancel_when_client_leaves(writer: asyncio.Task[None], receive: Receive) -> None:
    await client_leaves(receive)
    writer.cancel()


async def _write_events(
    script: Script, opening: bytes, events: list[bytes], ending: bytes, send: Send, interval: float
) -> None:
    await start_events(send)
    await asyncio.sleep(script.first_token_after)
    if script.ending is not Ending.COMPLETE:
        events = events[: script.ends_after]
    batch = 1 if interval else AT_ONCE
    for start in range(0, len(events), batch):
        if start:
            await asyncio.sleep(interval)
        body = b"".join(events[start : start + batch])
        await send({"type": "http.response.body", "body": body if start else opening + body, "more_body": True})
    if script.ending is Ending.STALL:
        await _silence()
    if script.ending is Ending.CUT:
        return
    if script.ending is Ending.ERROR:
        ending = error_event(SCRIPTED_ERROR)
    await send({"type": "http.response.body", "body": ending if events else opening + ending})


async def _write_completion(script: Script, envelope: Envelope, send: Send, interval: float) -> None:
    """Take as long as a stream would, then send the whole; an early end sends half of it or nothing."""
    body = completion(script, envelope)
    chunks = len(script.reasoning) + len(script.text) if script.ending is Ending.COMPLETE else script.ends_after
    await asyncio.sleep(script.first_token_after + interval * chunks)
    if script.ending is Ending.STALL:
        await _silence()
    if script.ending is Ending.ERROR:
        await answer_error(send, SCRIPTED_ERROR)
        return
    if script.ending is Ending.CUT:
        await start_json(send, len(body))
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    await answer_json(send, body)


async def _silence() -> None:
    await asyncio.Event().wait()
