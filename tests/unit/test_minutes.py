"""What workers counted in each minute: what is told, once; and what is read off it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from chat.metrics import TRANSITIONS
from chat.minutes import Minute, minute_key, quantile, read_minutes
from chatworker import metrics
from chatworker.tally import Tally

INF = float("inf")


class Redis:
    """Hashes of counters; what it is told in a transaction counts when that ends."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.expires: set[str] = set()
        self.is_away = False

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        return Pipeline(self)


class Pipeline:
    def __init__(self, server: Redis) -> None:
        self._server = server
        self._commands: list[Any] = []

    async def __aenter__(self) -> "Pipeline":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None: ...

    def hincrby(self, key: str, name: str, more: int) -> None:
        self._commands.append((key, name.encode(), more))

    def expire(self, key: str, seconds: int) -> None:
        self._server.expires.add(key)

    def hgetall(self, key: str) -> None:
        self._commands.append(key)

    def execute(self) -> Any:
        if isinstance(self._commands[0], str):
            return [self._server.hashes.get(key, {}) for key in self._commands]
        return self._add()

    async def _add(self) -> None:
        if self._server.is_away:
            raise ConnectionError
        for key, name, more in self._commands:
            counters = self._server.hashes.setdefault(key, {})
            counters[name] = str(int(counters.get(name, 0)) + more).encode()


@pytest.fixture
def server() -> Iterator[Redis]:
    yield Redis()


def test_a_worker_tells_what_it_counted_since_it_last_did(server: Redis) -> None:
    now = 120.0
    tally = Tally(server, clock=lambda: now)
    TRANSITIONS.labels("finish_turn").inc(2)
    TRANSITIONS.labels("finish_error").inc()
    TRANSITIONS.labels("commit_step").inc(9)
    metrics.GENERATION_RETRIES.labels("timeout").inc(3)
    metrics.FIRST_PART.observe(0.2)
    asyncio.run(tally.tell())
    now = 185.0
    TRANSITIONS.labels("finish_turn").inc()
    metrics.FIRST_PART.observe(1000)
    asyncio.run(tally.tell())
    asyncio.run(tally.tell())
    assert read_minutes(server, 185, 3) == [
        Minute(),
        Minute(turns=2, failures=1, retries=3, first_parts={0.25: 1}),
        Minute(turns=1, first_parts={INF: 1}),
    ]
    assert server.expires == set(server.hashes) == {minute_key(2), minute_key(3)}


def test_what_redis_did_not_take_is_told_the_next_time(server: Redis) -> None:
    tally = Tally(server, clock=lambda: 60.0)
    TRANSITIONS.labels("finish_turn").inc()
    server.is_away = True
    with pytest.raises(ConnectionError):
        asyncio.run(tally.tell())
    server.is_away = False
    asyncio.run(tally.tell())
    assert read_minutes(server, 60, 1) == [Minute(turns=1)]


@pytest.mark.parametrize(
    ("classes", "share", "seconds"),
    [
        ({}, 0.5, None),
        ({1.0: 0}, 0.5, None),
        ({1.0: 10}, 0.5, 0.5),
        ({1.0: 10}, 1.0, 1.0),
        ({1.0: 1, 2.0: 1}, 0.5, 1.0),
        ({1.0: 2, 2.0: 2, 5.0: 4}, 0.75, 3.5),
        ({1.0: 1, INF: 1}, 0.95, 1.0),
        ({INF: 1}, 0.5, 0.0),
    ],
)
def test_a_quantile_is_linear_within_its_class(classes: dict[float, int], share: float, seconds: float | None) -> None:
    assert quantile(classes, share) == seconds
