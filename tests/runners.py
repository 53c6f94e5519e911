"""Stand-ins for what surrounds a runner, for tests of the runner and its manager alone: no database, no Redis."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from chat.channels import Hint
from chat.update import Fence
from chatworker.models.catalogue import ModelSpec
from chatworker.models.protocol import ModelRequest
from chatworker.resources import Resources
from chatworker.work.step import Generate


class Spy:
    """What runners ask of their surroundings."""

    def __init__(self) -> None:
        self.asked: list[tuple[UUID, UUID]] = []

    def request_cleanup(self, chat_id: UUID, runner_id: UUID) -> None:
        self.asked.append((chat_id, runner_id))


class Database:
    """Runs each function at once, and counts."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        await asyncio.sleep(0)
        return function(*args, **kwargs)


class Channels:
    """A listener without Redis: `say` delivers at once."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[[bytes], None]]] = {}

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.callbacks.setdefault(channel, []).append(callback)

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        self.callbacks[channel].remove(callback)
        if not self.callbacks[channel]:
            del self.callbacks[channel]

    def say(self, channel: str, hint: Hint) -> None:
        for callback in list(self.callbacks.get(channel, ())):
            callback(hint.encode().encode())


def surroundings(database: Any = None, **others: Any) -> Resources:
    return replace(
        Resources(database=database or Database(), episodes=None, models=None),  # type: ignore[arg-type]
        **others,
    )


def hint(chat_id: UUID, **values: Any) -> Hint:
    defaults = {
        "snapshot_version": 1, "history_version": 1, "queue_version": 0, "retry_state_version": 0,
        "generation_attempt": 1, "status": "running", "archived": False, "worker_id": None, "runner_id": None,
    }  # fmt: skip
    return Hint(chat_id=str(chat_id), **{**defaults, **values})


def generation(chat_id: UUID, worker_id: UUID, runner_id: UUID, *, version: int = 1) -> Generate:
    """A step of this owner that calls a model, begun in version `version`."""
    fence = Fence(worker_id, runner_id, version, "running", 1)
    spec = ModelSpec("demo:demo", "demo", "openai", "", "")
    return Generate(chat_id, version, fence, [], spec, ModelRequest([]))
