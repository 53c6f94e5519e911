"""What the checks share: a Redis client that does not wait, Postgres with a limit, and what Celery's workers answer."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis
from django.conf import settings
from django.db import connections
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat import hints

REDIS_TIMEOUT = 1.0
"""Seconds for one call, also to connect."""
REPLY_WITHIN = 1.0
"""Seconds of silence after which no further Celery worker is expected to answer."""
DATABASE_LIMIT = 8.0
"""Seconds that one check may take: less than a statement may (`statement_timeout`), for a server that hangs."""


@dataclass(frozen=True, slots=True)
class CeleryWorker:
    """A worker that answered: its queues, its pool's class, how many tasks of each name it has been given so far."""

    queues: frozenset[str]
    pool: str
    received: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at Celery: who answers, and how long the queues are."""

    workers: Mapping[str, CeleryWorker]
    backlog: Mapping[str, int]

    def consuming(self, queue: str) -> list[str]:
        return [name for name, worker in self.workers.items() if queue in worker.queues]


class Site:
    """`clock` and `pause`: for checks that look twice; `wall`: this machine's time of day, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.pause = pause
        self.wall = wall

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(
            settings.CHATD_REDIS_URL,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )

    @cached_property
    def first_look(self) -> Look:
        """At Celery, kept for who wants to compare."""
        return self.look()

    def look(self, expected: int | None = None) -> Look:
        """At Celery now. It takes `REPLY_WITHIN`, or less if as many workers as `expected` answer sooner."""
        stats = _ask("stats", expected)
        queues = _ask("active_queues", len(stats)) if stats else {}
        workers = {
            name: CeleryWorker(
                queues=frozenset(queue["name"] for queue in queues.get(name, ())),
                pool=str(said.get("pool", {}).get("implementation", "")),
                received=said.get("total", {}),
            )
            for name, said in stats.items()
        }
        return Look(workers, {name: int(self.redis.llen(name)) for name in ("chats", "maintenance")})

    def close(self) -> None:
        if "redis" in self.__dict__:
            self.redis.close()


def _ask(question: str, expected: int | None) -> dict[str, Any]:
    """What Celery's workers answer, by their names.

    `app.control.inspect` would publish through the app's pool, whose connections wait for ever and stay open; this is
    the same question on a connection of our own.
    """
    app = hints.current_app
    timeouts = {"socket_timeout": REPLY_WITHIN * 2, "socket_connect_timeout": REDIS_TIMEOUT}
    with app.connection_for_write(transport_options=timeouts) as connection:
        mailbox = app.control.Mailbox(
            app.conf.control_exchange,
            type="fanout",
            connection=connection,
            accept=app.conf.accept_content,
            serializer=app.conf.task_serializer,
        )
        answers = mailbox.multi_call(question, timeout=REPLY_WITHIN, limit=expected or None)
    return {name: said for answer in answers for name, said in answer.items()}


@contextmanager
def hang_up_after(seconds: float) -> Iterator[None]:
    """Close this thread's database connection under whoever still waits for an answer on it by then."""
    database = connections["default"]

    def hang_up() -> None:
        raw = database.connection
        # Suppressed: it may be closing at this very moment.
        with suppress(Exception), socket.socket(fileno=os.dup(raw.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
