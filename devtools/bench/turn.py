"""`./dev bench turn`: how long a turn takes, and how many a second, with a model that answers at once.

A turn runs from the moment a client sends its message until its stream says that the chat is waiting; the first part
is the first `message_part` on that stream. Everything is real: HTTP, Postgres, Redis, Celery, the model over HTTP.
Beside it, in the same run, the glue that most teams write (`devtools/bench/glue.py`), measured by the same client.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median, quantiles

from devtools.bench.client import Connection
from devtools.stack import Stack

PROMPT = "Say it. [at once] [say The answer is forty-two, as it always was.]"
WARM_UP_TURNS = 10
SEQUENTIAL_CHATS = 10
"""Of TURNS_PER_CHAT turns each: people talk for ten turns more often than for a hundred."""
CHATS_AT_ONCE = 32
TURNS_PER_CHAT = 10


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds from sending the message."""

    answered: float
    first_part: float
    whole: float


Begin = Callable[[Connection], Awaitable[str]]
"""Starts a chat with its first message; the path of its stream."""


@dataclass(frozen=True)
class System:
    """What is measured: how to start a chat there, and where to send the next message."""

    url: str
    token: str
    starts_by_sending: bool

    async def begin(self, requests: Connection, name: str) -> tuple[str, str]:
        """The paths of a chat's messages and of its stream."""
        if not self.starts_by_sending:
            return f"/{name}", f"/{name}"
        chat = await requests.request("POST", "/api/v1/chats", {"message": {"text": PROMPT}})
        return f"/api/v1/chats/{chat['id']}/messages", f"/api/v1/chats/{chat['id']}/stream"


async def turns(system: System, count: int, name: str = "one") -> list[Turn]:
    """`count` turns of one chat, after one that is not counted: the first makes connections and fills caches."""
    requests, stream = Connection(system.url, system.token), Connection(system.url, system.token)
    measured: list[Turn] = []
    begun, answered, first_part = time.perf_counter(), 0.0, 0.0
    try:
        messages, path = await system.begin(requests, name)
        async with aclosing(stream.events(path)) as events:
            async for event in events:
                if event.name == "message_part" and not first_part:
                    first_part = event.at
                over = event.name == "status" and event.data["status"] == "waiting"
                if over:
                    measured.append(Turn(answered - begun, first_part - begun, event.at - begun))
                if len(measured) > count:
                    break
                if over or (event.name == "ready" and not system.starts_by_sending):
                    begun, first_part = time.perf_counter(), 0.0
                    await requests.request("POST", messages, {"text": PROMPT})
                    answered = time.perf_counter()
    finally:
        await requests.close()
        await stream.close()
    return measured[1:]


async def measure(system: System) -> dict[str, float]:
    """The figures of one system that runs."""
    await turns(system, WARM_UP_TURNS, "warm-up")
    one = [turn for n in range(SEQUENTIAL_CHATS) for turn in await turns(system, TURNS_PER_CHAT, f"one-{n}")]
    begun = time.perf_counter()
    many = await asyncio.gather(*(turns(system, TURNS_PER_CHAT, f"chat-{n}") for n in range(CHATS_AT_ONCE)))
    seconds = time.perf_counter() - begun
    return {
        "turn_p50_ms": _ms([turn.whole for turn in one], 50),
        "turn_p95_ms": _ms([turn.whole for turn in one], 95),
        "first_part_p50_ms": _ms([turn.first_part for turn in one], 50),
        "first_part_p95_ms": _ms([turn.first_part for turn in one], 95),
        "sent_p50_ms": _ms([turn.answered for turn in one], 50),
        "turns_per_s_32": round(sum(len(done) + 1 for done in many) / seconds, 1),
    }


def _ms(seconds: Sequence[float], percentile: int) -> float:
    return round(quantiles(seconds, n=100, method="inclusive")[percentile - 1] * 1000, 1)


STAGES = ("send → committed", "committed → acquired", "acquired → step committed", "step committed → told")


async def stages(stack: Stack, count: int = 30) -> dict[str, float]:
    """Median milliseconds of each stage of a sequential turn, from the clients' clock and the processes' own log."""
    requests, stream = Connection(stack.url, stack.token), Connection(stack.url, stack.token)
    sent, told = [], []
    chat = await requests.request("POST", "/api/v1/chats", {"message": {"text": PROMPT}})
    async with aclosing(stream.events(f"/api/v1/chats/{chat['id']}/stream")) as events:
        async for event in events:
            if event.name == "status" and event.data["status"] == "waiting":
                told.append(time.time())
                if len(told) > count:
                    break
                sent.append(time.time())
                await requests.request("POST", f"/api/v1/chats/{chat['id']}/messages", {"text": PROMPT})
    await requests.close()
    await stream.close()
    logged = _transitions(stack.log(), chat["id"])
    points = sent, logged["send_message_queue"], logged["acquire"][1:], logged["commit_step"][1:], told[1:]
    per_stage = [[(after - before) * 1000 for before, after in zip(*pair, strict=True)] for pair in pairwise(points)]
    return {name: round(median(values), 1) for name, values in zip(STAGES, per_stage, strict=True)}


def _transitions(log: str, chat_id: str) -> dict[str, list[float]]:
    """When each transition of a chat was logged, by its name."""
    found: dict[str, list[float]] = {"send_message_queue": [], "acquire": [], "commit_step": []}
    for line in log.splitlines():
        if chat_id in line and '"chat.transition"' in line:
            entry = json.loads(line[line.index("{") :])
            for name in set(entry["did"]) & set(found):
                found[name].append(datetime.fromisoformat(entry["timestamp"]).timestamp())
    return {name: sorted(times) for name, times in found.items()}
