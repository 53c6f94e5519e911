"""`./dev bench turn`: how long a turn takes, and how many a second, with a model that answers at once.

A turn runs from the moment a client sends its message until its stream says that the chat is waiting; the first part
is the first `message_part` on that stream. Everything is real: HTTP, Postgres, Redis, Celery, the model over HTTP.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from statistics import quantiles

from devtools.bench.client import Connection

PROMPT = "Say it. [at once] [say The answer is forty-two, as it always was.]"
SEQUENTIAL_TURNS = 100
CHATS_AT_ONCE = 32
TURNS_PER_CHAT = 10
TURN_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds from sending the message."""

    answered: float
    first_part: float
    whole: float


class Chat:
    """A chat with an open stream; `turn` sends a message and waits for its end."""

    def __init__(self, url: str, token: str) -> None:
        self._requests = Connection(url, token)
        self._stream = Connection(url, token)
        self._id = ""

    async def turns(self, count: int) -> list[Turn]:
        """`count` turns after one that is not counted: the first makes connections and fills caches."""
        begun = time.perf_counter()
        chat = await self._requests.request("POST", "/api/v1/chats", {"message": {"text": PROMPT}})
        measured: list[Turn] = []
        answered, first_part = time.perf_counter(), 0.0
        try:
            async with aclosing(self._stream.events(f"/api/v1/chats/{chat['id']}/stream")) as events:
                async for event in events:
                    if event.name == "message_part" and not first_part:
                        first_part = event.at
                    if event.name == "status" and event.data["status"] == "waiting":
                        measured.append(Turn(answered - begun, first_part - begun, event.at - begun))
                        if len(measured) > count:
                            break
                        begun, first_part = time.perf_counter(), 0.0
                        path = f"/api/v1/chats/{chat['id']}/messages"
                        await self._requests.request("POST", path, {"text": PROMPT})
                        answered = time.perf_counter()
        finally:
            await self._requests.close()
            await self._stream.close()
        return measured[1:]


async def measure(url: str, token: str) -> dict[str, float]:
    """The figures of `./dev bench turn --json`, from a running Chatd."""
    await Chat(url, token).turns(10)
    async with asyncio.timeout(SEQUENTIAL_TURNS * TURN_TIMEOUT):
        one = await Chat(url, token).turns(SEQUENTIAL_TURNS)
    begun = time.perf_counter()
    many = await asyncio.gather(*(Chat(url, token).turns(TURNS_PER_CHAT) for _ in range(CHATS_AT_ONCE)))
    seconds = time.perf_counter() - begun
    done = sum(len(turns) + 1 for turns in many)
    return {
        "turn_p50_ms": _ms([turn.whole for turn in one], 50),
        "turn_p95_ms": _ms([turn.whole for turn in one], 95),
        "first_part_p50_ms": _ms([turn.first_part for turn in one], 50),
        "first_part_p95_ms": _ms([turn.first_part for turn in one], 95),
        "sent_p50_ms": _ms([turn.answered for turn in one], 50),
        "turns_per_s_32": round(done / seconds, 1),
    }


def _ms(seconds: Sequence[float], percentile: int) -> float:
    return round(quantiles(seconds, n=100, method="inclusive")[percentile - 1] * 1000, 1)


if __name__ == "__main__":
    import sys

    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2]))))
