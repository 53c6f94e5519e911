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
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from chat.channels import EPISODE_KEPT, episode_key, part_channel

logger = structlog.get_logger(__name__)

MAX_BYTES = 1024 * 1024
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
    """The part would exceed the episode's size; it was not stored and took no seq."""


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

    def __init__(self, client: "redis.asyncio.Redis[Any]") -> None:
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
        entries = await self._redis.xrange(episode.key, min=f"{after_seq + 1}-0")
        return [
            (int(entry_id.split(b"-")[0]), fields[b"role"].decode(), json.loads(fields[b"part"]))
            for entry_id, fields in entries
            if b"part" in fields
        ]


class EpisodeWriter:
    """The writing end of one episode, for as long as one model call streams.

    `add` never waits: it buffers, and `send_in_background` sends. All parts stay in memory until the end, so that an
    emptied Redis is written again. What was once handed to Redis is never changed, only appended to.
    """

    def __init__(
        self, store: EpisodeStore, episode: EpisodeId, *, role: str = "assistant", coalesce: float = COALESCE
    ) -> None:
        self.episode = episode
        self._store = store
        self._role = role
        self._coalesce = coalesce
        self._parts: list[dict[str, Any]] = []
        self._handed = 0  # parts of a send that was begun, whatever became of it
        self._sent = 0
        self._bytes = 0
        self._news = asyncio.Event()
        self._closed = False

    @property
    def streamed(self) -> list[dict[str, Any]]:
        """The parts that were handed to Redis: what people saw, or would have seen with Redis there."""
        return self._parts[: self._handed]

    def add(self, part: dict[str, Any]) -> None:
        """Buffer one delta. Raises `EpisodeFull`, `EpisodeClosed`."""
        if self._closed:
            raise EpisodeClosed()
        size = len(json.dumps(part, ensure_ascii=False)) + 40
        if self._bytes + size > MAX_BYTES:
            raise EpisodeFull()
        self._bytes += size
        if len(self._parts) > self._handed and _continues(self._parts[-1], part):
            self._parts[-1] = {**self._parts[-1], "text": self._parts[-1]["text"] + part["text"]}
        else:
            self._parts.append(part)
        self._news.set()

    async def send_in_background(self) -> None:
        """Send what is added until cancelled: the first part at once, then every `coalesce` seconds."""
        while True:
            await self._news.wait()
            await self.flush()
            await asyncio.sleep(self._coalesce)

    async def flush(self) -> None:
        """Send what is buffered. A Redis that is away is not an error: the parts go out when it is back."""
        self._news.clear()
        self._handed = until = len(self._parts)
        try:
            while not self._closed and self._sent < until:
                await self._send(until)
        except (RedisError, OSError) as error:
            logger.debug("episode.not_sent", episode=self.episode.key, error=repr(error))
            self._news.set()

    async def _send(self, until: int) -> None:
        try:
            await self._store.append(
                self.episode, self._sent, self._role, self._parts[self._sent : until], create=self._sent == 0
            )
            self._sent = until
        except EpisodeNotFound:
            self._sent = 0
        except EpisodeElsewhere as elsewhere:
            self._sent = min(elsewhere.ends_with, until)
        except EpisodeClosed:
            self._closed = True  # somebody took over: what comes now was never streamed


def _continues(last: dict[str, Any], part: dict[str, Any]) -> bool:
    return (
        part.get("type") in ("text", "reasoning")
        and last.get("type") == part["type"]
        and last.get("index") == part.get("index")
    )
