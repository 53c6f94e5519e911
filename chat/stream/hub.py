"""The feeds of one process: a chat's feed begins with its first client and ends with its last."""

import asyncio
from uuid import UUID

import redis.asyncio
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat.database import DatabaseThreads
from chat.episodes import EpisodeStore
from chat.stream.client import Client
from chat.stream.feed import POLL_EVERY, Feed
from chat.stream.listener import Listener
from chat.timeline import View

logger = structlog.get_logger(__name__)

DATABASE_THREADS: int = settings.CHATD_STREAM_CONNECTIONS
CANCEL_AGAIN_AFTER = 0.05
REDIS_TIMEOUT = 1.0
"""Seconds: committed messages wait behind a reading of live parts, and must not wait long for a Redis that is away."""


class Hub:
    """`async with Hub() as hub: hub.watch(chat_id, view)`. Everything it starts ends with it."""

    def __init__(self, *, poll_every: float = POLL_EVERY) -> None:
        self._poll_every = poll_every
        self._feeds: dict[UUID, Feed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.CHATD_REDIS_URL,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),
        )
        self._store = EpisodeStore(self._redis)
        self._listener = Listener(settings.CHATD_REDIS_URL, on_reconnect=self._read_again)
        self.database = DatabaseThreads(DATABASE_THREADS, name="stream-db")

    async def __aenter__(self) -> "Hub":
        self._listening = asyncio.create_task(self._listener.run(), name="stream-listener")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.end_streams()
        await _cancelled(*self._tasks)
        await _cancelled(self._listening)  # after the feeds, which end their subscriptions with it
        await self._redis.aclose()
        await asyncio.to_thread(self.database.close)

    def watch(self, chat_id: UUID, view: View) -> Client:
        """A new client; it gets what `view` does not know, then whatever happens. Give it back with `unwatch`."""
        client = Client(chat_id, view)
        feed = self._feeds.get(chat_id)
        if feed is None or feed.ended:
            feed = self._feeds[chat_id] = Feed(
                chat_id,
                listener=self._listener,
                store=self._store,
                database=self.database,
                poll_every=self._poll_every,
            )
            feed.join(client)
            task = asyncio.create_task(self._run(feed), name=f"stream-feed-{chat_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            feed.join(client)
        return client

    def end_streams(self) -> None:
        """Every client gets what waits for it and then the end; it comes back by cursor, to whoever serves by then."""
        for feed in self._feeds.values():
            feed.end_clients()

    def unwatch(self, client: Client) -> None:
        client.end()
        if feed := self._feeds.get(client.chat_id):
            feed.leave(client)

    async def _run(self, feed: Feed) -> None:
        try:
            await feed.run()
        except Exception:
            # Its clients were ended and come back by cursor; the reason must not pass unseen.
            logger.exception("stream.feed_failed", chat_id=str(feed.chat_id))
        finally:
            if self._feeds.get(feed.chat_id) is feed:
                del self._feeds[feed.chat_id]

    def _read_again(self) -> None:
        for feed in self._feeds.values():
            feed.read_again()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel until it is heard: `wait_for` of Python 3.11, inside redis-py, may swallow a cancellation."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_AGAIN_AFTER)
