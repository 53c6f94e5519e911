"""The live parts of one generation attempt, kept in Redis for everybody who watches.

An episode is `(chat_id, history_version, generation_attempt)`: one Redis stream whose entries are its parts with
contiguous `seq` from 1, between a marker that opens it and one that closes it. Why so:

- one stream is one key: created once, closed once, expiring as a whole; a key that is gone is *forgotten*, which the
  writer notices (its parts do not continue anything) and mends by writing all its parts again;
- a closed episode refuses parts, and closing an unknown one creates it closed, so that a worker that lost its chat
  cannot add to what an interrupt has already saved;
- parts are stored and published by one script, so nobody is told of a part that is not there to be read.

The writer coalesces: the first part goes out at once, later ones at most `COALESCE` seconds after they came, off the
model's path. The size is capped (`MAX_BYTES`), because Redis holds every running chat's parts at once.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from chat.channels import EPISODE_KEPT, episode_key, part_channel

logger = structlog.get_logger(__name__)

MAX_BYTES = 1024 * 1024
"""Of the JSON of `{seq, role, part}`, summed over an episode's parts."""
COALESCE = 0.025


class EpisodeRefused(Exception):
    """The episode did not take what was offered; the subclass says why."""


class EpisodeExists(EpisodeRefused):
    """An episode of this chat, history version and attempt was created before."""


class EpisodeNotFound(EpisodeRefused):
    """There is no such episode: never created, expired, or forgotten by Redis."""


class EpisodeClosed(EpisodeRefused):
    """The episode is closed; it takes no more parts."""


class EpisodeElsewhere(EpisodeRefused):
    """The stored parts end with another seq than the writer thought: a reply of Redis was lost."""

    def __init__(self, ends_with: int) -> None:
        super().__init__(ends_with)
        self.ends_with = ends_with


class EpisodeFull(EpisodeRefused):
    """The part would exceed the episode's size; it was not stored and took no seq. Nor is any later one taken."""


@dataclass(frozen=True, slots=True)
class EpisodeId:
    chat_id: UUID
    history_version: int
    generation_attempt: int

    @property
    def key(self) -> str:
        return episode_key(self.chat_id, self.history_version, self.generation_attempt)


# KEYS: stream, channel. ARGV: ttl in ms, history version, attempt, seq before, role, create, parts as JSON.
# The entry of part n has the id n-0; the open marker 0-1; the closing one <last>-2. Answers "ok", "closed", "unknown",
# or the seq that the stored parts really end with.
_APPEND = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local before = tonumber(ARGV[4])
if last then
  if last[2][1] == 'closed' then return 'closed' end
  local seq = tonumber(string.match(last[1], '^(%d+)-'))
  if seq ~= before then return tostring(seq) end
elseif ARGV[6] == '0' then
  return 'unknown'
else
  redis.call('XADD', KEYS[1], '0-1', 'open', '1')
end
for i = 7, #ARGV do
  local seq = before + i - 6
  redis.call('XADD', KEYS[1], string.format('%d-0', seq), 'role', ARGV[5], 'part', ARGV[i])
  redis.call('PUBLISH', KEYS[2], '{"history_version":' .. ARGV[2]
    .. ',"generation_attempt":' .. ARGV[3] .. ',"seq":' .. seq .. ',"role":"' .. ARGV[5]
    .. '","part":' .. ARGV[i] .. '}')
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
"""

_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 'exists' end
redis.call('XADD', KEYS[1], '0-1', 'open', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
"""

_CLOSE = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if not last then
  redis.call('XADD', KEYS[1], '0-1', 'closed', '1')
elseif last[2][1] ~= 'closed' then
  local seq = string.match(last[1], '^(%d+)-')
  redis.call('XADD', KEYS[1], seq .. '-2', 'closed', '1')
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'ok'
"""


class EpisodeStore:
    """Episodes over one asyncio Redis client, which belongs to the caller."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._append = client.register_script(_APPEND)
        self._create = client.register_script(_CREATE)
        self._close = client.register_script(_CLOSE)

    async def create(self, episode: EpisodeId) -> None:
        """Open an episode without parts. Raises `EpisodeExists`."""
        if await self._create(keys=[episode.key], args=[EPISODE_KEPT * 1000]) == b"exists":
            raise EpisodeExists()

    async def append(
        self, episode: EpisodeId, seq_before: int, role: str, parts: list[dict[str, Any]], *, create: bool = False
    ) -> None:
        """Store and publish `parts` as seq_before + 1, …; `create` also opens an unknown episode.

        Raises `EpisodeClosed`, `EpisodeNotFound`, and `EpisodeElsewhere` if what is stored ends with another seq.
        """
        encoded = [json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in parts]
        answer = await self._append(
            keys=[episode.key, part_channel(episode.chat_id)],
            args=[
                EPISODE_KEPT * 1000,
                episode.history_version,
                episode.generation_attempt,
                seq_before,
                role,
                int(create),
                *encoded,
            ],
        )
        if answer == b"closed":
            raise EpisodeClosed()
        if answer == b"unknown":
            raise EpisodeNotFound()
        if answer != b"ok":
            raise EpisodeElsewhere(int(answer))

    async def close(self, episode: EpisodeId) -> None:
        """No more parts. Closing twice changes nothing; closing an unknown episode creates it closed."""
        await self._close(keys=[episode.key], args=[EPISODE_KEPT * 1000])

    async def parts(self, episode: EpisodeId, *, after_seq: int = 0) -> list[tuple[int, str, dict[str, Any]]]:
        """(seq, role, part) of what is stored after `after_seq`; empty if the episode is unknown."""
        entries: Any = await self._redis.xrange(episode.key, min=f"{after_seq + 1}-0")
        return [
            (int(entry_id.split(b"-")[0]), fields[b"role"].decode(), json.loads(fields[b"part"]))
            for entry_id, fields in entries
            if b"part" in fields
        ]


class EpisodeWriter:
    """The writing end of one episode, for as long as one model call streams.

    `add` never waits: it buffers, and the task inside `sending()` sends. All parts stay in memory until the end, so
    that an emptied Redis is written again. What was once handed to Redis is never changed, only appended to.
    """

    def __init__(
        self,
        store: EpisodeStore,
        episode: EpisodeId,
        *,
        role: str = "assistant",
        coalesce: float = COALESCE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.episode = episode
        self._max_bytes = max_bytes
        self._store = store
        self._role = role
        self._coalesce = coalesce
        self._parts: list[dict[str, Any]] = []
        self._handed = 0  # parts of a send that was begun, whatever became of it
        self._streamed = 0
        self._sent = 0
        self._bytes = 0
        self._full = False
        self._news = asyncio.Event()
        self._finished = asyncio.Event()
        self._closed = False

    @property
    def streamed(self) -> list[dict[str, Any]]:
        """What people saw, or would have seen had Redis been there."""
        return self._parts[: self._streamed]

    def add(self, part: dict[str, Any]) -> None:
        """Buffer one delta. Raises `EpisodeFull`, `EpisodeClosed`.

        An episode that was full once stays so: a preview that ends is better than one with a hole.
        """
        if self._closed:
            raise EpisodeClosed()
        continues = len(self._parts) > self._handed and _continues(self._parts[-1], part)
        if continues:
            size = _size(part["text"]) - len('""')
        else:
            size = _size({"seq": len(self._parts) + 1, "role": self._role, "part": part})
        if self._full or self._bytes + size > self._max_bytes:
            self._full = True
            raise EpisodeFull()
        self._bytes += size
        if continues:
            self._parts[-1] = {**self._parts[-1], "text": self._parts[-1]["text"] + part["text"]}
        else:
            self._parts.append(part)
        self._news.set()

    async def _send_until_finished(self) -> None:
        """Send what is added: the first part at once, later ones every `coalesce` seconds, the rest at the end."""
        while not self._finished.is_set() or self._sent < len(self._parts):
            await self._news.wait()
            await self.flush()
            if self._finished.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._coalesce):
                    await self._finished.wait()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Parts are sent while inside. On a normal end all of them are; on an error or cancellation the rest never is.

        The sender is told to end, not cancelled: a cancelled call of Redis leaves open whether it happened.
        """
        sender = asyncio.create_task(self._send_until_finished(), name=f"send-{self.episode.key}")
        try:
            yield
        except BaseException:
            self._closed = True
            raise
        finally:
            self._finished.set()
            self._news.set()
            await asyncio.wait({sender})

    async def flush(self) -> None:
        """Send what is buffered. A Redis that is away is not an error: the parts go out when it is back."""
        self._news.clear()
        self._handed = until = len(self._parts)
        try:
            while not self._closed and self._sent < until:
                await self._send(until)
        except (RedisError, OSError) as error:
            logger.debug("episode.not_sent", episode=self.episode.key, error=repr(error))
            self._streamed = until
            self._news.set()

    async def _send(self, until: int) -> None:
        try:
            await self._store.append(
                self.episode, self._sent, self._role, self._parts[self._sent : until], create=self._sent == 0
            )
            self._sent = until
            self._streamed = max(self._streamed, until)
        except EpisodeNotFound:
            self._sent = 0
        except EpisodeElsewhere as elsewhere:
            self._sent = min(elsewhere.ends_with, until)
            self._streamed = max(self._streamed, self._sent)
        except EpisodeClosed:
            self._closed = True  # somebody took over: what comes now was never streamed


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _continues(last: dict[str, Any], part: dict[str, Any]) -> bool:
    return (
        part.get("type") in ("text", "reasoning")
        and last.get("type") == part["type"]
        and last.get("index") == part.get("index")
    )
