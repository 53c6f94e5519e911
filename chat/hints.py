"""What others are told after a commit. The only file that knows the broker.

A hint says that a chat changed; a wake-up asks some worker to look at a runnable chat. Both may be lost, repeated or
late, and nothing depends on them but speed: streams poll, and a sweep finds what nobody works on. A dead Redis must
not turn a committed change into an error, so a failure is logged once per outage and skipped for a moment.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

import redis
import structlog
from celery import current_app
from django.conf import settings
from kombu import Connection, pools
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat import metrics
from chat.channels import Hint, hint_channel
from chat.crash import crash_point
from chat.execution import State
from chat.publisher import Publisher

logger = structlog.get_logger(__name__)

PUBLISH_TIMEOUT = 0.5
"""Seconds that one publication may take: somebody waits for the answer of the request it belongs to."""
SKIP_AFTER_FAILURE = 1.0
"""Seconds without another try after a failed one, so that an outage does not cost every request the time-out."""
RUN_CHAT = "chatworker.run_chat"


@cache
def redis_client() -> redis.Redis:
    """A connection with short time-outs: somebody waits for the answer of the request that it serves."""
    return redis.Redis.from_url(
        settings.CHATD_REDIS_URL,
        socket_timeout=PUBLISH_TIMEOUT,
        socket_connect_timeout=PUBLISH_TIMEOUT,
        retry=Retry(NoBackoff(), 1),
    )


@cache
def _publisher() -> Publisher:
    return Publisher(redis_client().connection_pool, patience=PUBLISH_TIMEOUT)


@cache
def _producers() -> Any:
    """Producers for wake-ups alone: short time-outs here, while a worker's blocking reads need long ones."""
    options = {
        **settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        "socket_timeout": PUBLISH_TIMEOUT,
        "socket_connect_timeout": PUBLISH_TIMEOUT,
        "max_retries": 0,  # kombu's own would wait for seconds between them
    }
    return pools.producers[Connection(settings.CELERY_BROKER_URL, transport_options=options)]


def disconnect() -> None:
    """Close what this process keeps open to Redis, and forget an outage; the next publication connects again."""
    global _skip_until
    _skip_until = 0.0
    if _publisher.cache_info().currsize:
        _publisher().close()
        _publisher.cache_clear()
    if redis_client.cache_info().currsize:
        redis_client().close()
        redis_client.cache_clear()
    if _producers.cache_info().currsize:
        pools.reset()  # with the connections that kombu keeps behind the producers
        _producers.cache_clear()


# A child makes a connection of its own; the clients behind the others see to that themselves.
os.register_at_fork(after_in_child=_publisher.cache_clear)


_skip_until = 0.0


def publish_update(chat: Any, state: State) -> None:
    """Tell streams and runners that `chat` (its row after the commit) changed."""
    if crash_point("hint.before"):
        return
    _best_effort("hint", lambda: _publisher().publish(hint_channel(chat.id), Hint.of(chat).encode()))
    crash_point("hint.after")


def publish_wake_up(chat_id: UUID) -> None:
    """Ask for a worker; the message carries the id alone and is harmless to lose or repeat."""

    def send() -> None:
        with _producers().acquire(block=True, timeout=PUBLISH_TIMEOUT) as producer:
            current_app.send_task(
                RUN_CHAT, kwargs={"chat_id": str(chat_id)}, queue="chats", producer=producer, retry=False
            )

    if crash_point("wake_up.before"):
        return
    _best_effort("wake-up", send)
    crash_point("wake_up.after")


def waiting_wake_ups() -> int:
    """How many wake-ups wait in the broker; a sweep does not add to a backlog."""
    return int(redis_client().llen("chats"))


def _best_effort(what: str, send: Callable[[], object]) -> None:
    global _skip_until
    if time.monotonic() < _skip_until:
        return
    try:
        send()
    except Exception as error:  # whatever the broker does, the commit stands
        metrics.NOT_PUBLISHED.labels(what).inc()
        _skip_until = time.monotonic() + SKIP_AFTER_FAILURE
        logger.warning("hint.not_published", what=what, error=repr(error), next_try_after=SKIP_AFTER_FAILURE)
