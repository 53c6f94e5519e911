"""One Redis pub/sub connection for everything that a process wants to hear.

Subscriptions survive the connection: when it breaks, it is made again with back-off, everything is subscribed anew and
`on_reconnect` runs, because what was said in between is lost. Nothing here knows what the messages mean.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import redis.asyncio
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat.cancellation import heed_cancellation
from chat.outage import REDIS_AWAY

_KEEP_OPEN = "chatd:keep-open"
"""A channel on which nobody speaks: a connection without subscriptions cannot be read."""

logger = structlog.get_logger(__name__)

Callback = Callable[[bytes], None]
RECONNECT_FROM, RECONNECT_UP_TO = 0.1, 2.0
"""Seconds between tries to connect, doubling."""
CONFIRM_TIMEOUT = 1.0
READ_TIMEOUT = 5.0
"""Seconds without a message before the connection is asked whether it is still there."""


class Listener:
    """`run()` is its loop; `subscribe` may be called before and while it runs, from the same event loop."""

    def __init__(self, url: str, *, on_reconnect: Callable[[], None]) -> None:
        # No retries inside the client: it would reconnect without telling us that messages were missed.
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url, socket_connect_timeout=CONFIRM_TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        self._on_reconnect = on_reconnect
        self._callbacks: dict[str, list[Callback]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: Any = None

    async def run(self) -> None:
        """Listen until cancelled."""
        delay = RECONNECT_FROM
        first = True
        try:
            while True:
                try:
                    async with self._client.pubsub() as pubsub:
                        wanted: set[str] = set()
                        while new := {_KEEP_OPEN, *self._callbacks} - wanted:  # some may come while we connect
                            await pubsub.subscribe(*new)
                            wanted |= new
                        self._pubsub = pubsub
                        if not first:
                            logger.info("redis.reconnected")
                        if not first or self._callbacks:
                            self._on_reconnect()  # whoever subscribed before has not been heard until now
                        first, delay = False, RECONNECT_FROM
                        await self._read(pubsub)
                except REDIS_AWAY as error:
                    logger.warning("redis.connection_lost", error=repr(error), retry_after=delay)
                    first = False
                finally:
                    self._pubsub = None
                await asyncio.sleep(delay)
                delay = min(delay * 2, RECONNECT_UP_TO)
        finally:
            await self._client.aclose()

    async def _read(self, pubsub: Any) -> None:
        asked = False
        while True:
            heed_cancellation()
            message = await pubsub.get_message(timeout=READ_TIMEOUT)
            if message is None and asked:
                raise redis.exceptions.ConnectionError("Redis does not answer a ping")
            if message is None:
                await pubsub.ping()
            asked = message is None
            if message is not None:
                self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            channel = message["channel"].decode()
            for callback in list(self._callbacks.get(channel, ())):
                callback(message["data"])
        elif message["type"] == "subscribe" and (confirmed := self._confirmed.pop(message["channel"].decode(), None)):
            confirmed.set()

    async def subscribe(self, channel: str, callback: Callback) -> None:
        """Call `callback` with each message on `channel`; returns when Redis has confirmed.

        With Redis away it returns as well: the subscription is made when the connection is back.
        """
        callbacks = self._callbacks.setdefault(channel, [])
        callbacks.append(callback)
        if len(callbacks) == 1 and self._pubsub is not None:
            confirmed = self._confirmed[channel] = asyncio.Event()
            await self._tell("subscribe", channel)
            try:
                async with asyncio.timeout(CONFIRM_TIMEOUT):
                    await confirmed.wait()
            except TimeoutError:
                self._confirmed.pop(channel, None)

    async def unsubscribe(self, channel: str, callback: Callback) -> None:
        callbacks = self._callbacks.get(channel, [])
        if callback in callbacks:
            callbacks.remove(callback)
        if not callbacks and self._callbacks.pop(channel, None) is not None:
            await self._tell("unsubscribe", channel)

    async def _tell(self, what: str, channel: str) -> None:
        if self._pubsub is not None:
            try:
                await getattr(self._pubsub, what)(channel)
            except REDIS_AWAY as error:
                logger.debug("redis.not_told", what=what, channel=channel, error=repr(error))
