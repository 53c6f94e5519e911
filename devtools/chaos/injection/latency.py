"""How much slower a turn is when hints are lost, doubled or late: `./dev chaos --hints`.

One system, one client, one distortion after the other. Of each turn: from the request until the answer is saved, and
until a reader of the stream has seen the chat at rest; of each stop: until the chat is at rest. Seconds, median and
worst. Nothing else may differ: every answer is compared with what was asked.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.bench.client import Connection
from devtools.chaos.injection.spec import LOOK_EVERY, tell
from devtools.stack import Stack, running_stack

DISTORTIONS = {
    "as usual": "",
    "hints dropped, 100 %": "drop=1; kinds=hint",
    "wake-ups dropped, 100 %": "drop=1; kinds=wake-up",
    "both dropped, 100 %": "drop=1; kinds=hint,wake-up",
    "both dropped, 10 %": "drop=0.1; kinds=hint,wake-up",
    "both doubled, 100 %": "double=1; kinds=hint,wake-up",
    "both late by 0-500 ms, shuffled": "delay=0-500; kinds=hint,wake-up",
}
ASK_EVERY = 0.01
GIVE_UP_AFTER = 60.0


@dataclass
class Measured:
    saved: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)


class Client:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._connection = Connection(stack.url, stack.token)

    async def turn(self, number: int, measured: Measured) -> None:
        """A second message to a chat whose stream is open: that is what a person waits for."""
        chat_id = await self._chat(f"First [say first {number}]")
        await self._until_idle(chat_id)
        reading = asyncio.create_task(self._read(chat_id, f"answer {number}"), name="reader")
        await asyncio.sleep(0.1)  # the reader has connected
        began = time.perf_counter()
        said = {"text": f"Again [say answer {number}]"}
        await self._connection.request("POST", f"/api/v1/chats/{chat_id}/messages", said)
        await self._until_idle(chat_id)
        measured.saved.append(time.perf_counter() - began)
        measured.seen.append(await reading - began)

    async def stop(self, measured: Measured) -> None:
        chat_id = await self._chat("Go on [long 4000] [interval 0.02]")
        await self._until(chat_id, lambda chat: chat["generation_attempt"] > 0)
        began = time.perf_counter()
        await self._connection.request("POST", f"/api/v1/chats/{chat_id}/interrupt")
        await self._until_idle(chat_id)
        measured.stopped.append(time.perf_counter() - began)

    async def close(self) -> None:
        await self._connection.close()

    async def _chat(self, text: str) -> str:
        chat = await self._connection.request("POST", "/api/v1/chats", {"message": {"text": text}})
        return str(chat["id"])

    async def _until_idle(self, chat_id: str) -> None:
        await self._until(chat_id, lambda chat: chat["status"] == "waiting")

    async def _until(self, chat_id: str, holds: Any) -> None:
        async with asyncio.timeout(GIVE_UP_AFTER):
            while not holds(await self._connection.request("GET", f"/api/v1/chats/{chat_id}")):  # noqa: ASYNC110
                await asyncio.sleep(ASK_EVERY)

    async def _read(self, chat_id: str, expected: str) -> float:
        """When a reader has seen the answer and the chat at rest."""
        connection, answered = Connection(self._stack.url, self._stack.token), False
        try:
            async with (
                asyncio.timeout(GIVE_UP_AFTER),
                aclosing(connection.events(f"/api/v1/chats/{chat_id}/stream")) as events,
            ):
                async for event in events:
                    if event.name == "message":
                        parts = event.data["message"]["parts"]
                        answered = answered or "".join(part.get("text", "") for part in parts) == expected
                    elif event.name == "status" and answered and event.data["status"] == "waiting":
                        return event.at
        finally:
            await connection.close()
        raise RuntimeError("the stream ended before the answer was there")


async def measure(stack: Stack, *, turns: int, stops: int) -> Measured:
    measured, client = Measured(), Client(stack)
    try:
        for number in range(turns):
            await client.turn(number, measured)
        for _ in range(stops):
            await client.stop(measured)
    finally:
        await client.close()
    return measured


def row(name: str, measured: Measured) -> str:
    cells = [
        f"{statistics.median(values):.2f} ({max(values):.2f})"
        for values in (measured.saved, measured.seen, measured.stopped)
    ]
    return f"| {name:<32} | {' | '.join(f'{cell:>13}' for cell in cells)} |"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos --hints", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hints", action="store_true", required=True)
    parser.add_argument("--turns", type=int, default=20, metavar="N", help="of each distortion (20)")
    parser.add_argument("--stops", type=int, default=5, metavar="N", help="of each distortion (5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chatd-latency-") as folder:
        chaos = Path(folder) / "chaos"
        chaos.mkdir()
        with running_stack(
            Path(folder) / "data",
            DJANGO_SETTINGS_MODULE="devtools.chaos.injection.settings",
            CHATD_CHAOS="1",
            CHATD_CHAOS_DIR=str(chaos),
        ) as stack:
            print(f"| {'distortion':<32} | {'saved':>13} | {'seen':>13} | {'stopped':>13} |")
            for name, spec in DISTORTIONS.items():
                tell(chaos, "hints", spec)
                time.sleep(2 * LOOK_EVERY)
                print(row(name, asyncio.run(measure(stack, turns=options.turns, stops=options.stops))), flush=True)
    return 0
