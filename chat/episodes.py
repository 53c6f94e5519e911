"""The live parts of one generation attempt, kept in Redis for everybody who watches.

An episode is `(chat_id, history_version, generation_attempt)`: one Redis stream whose entries are its parts with
contiguous `seq` from 1, between a marker that opens it and one that closes it. Why so:

- one stream is one key: created once, closed once, expiring as a whole; a key that is gone is *forgotten*, which the
  writer notices (its parts do not continue anything) and mends by writing all its parts again;
- a closed episode refuses parts, and closing an unknown one creates it closed, so that a worker that lost its chat
  cannot add to what an interrupt has already saved;
- parts are stored and published by one script, so nobody is told of a part that is not there to be read.

The writing end, which coalesces and remembers, is `chat/episode_writer.py`.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
import redis.asyncio

from chat.channels import EPISODE_KEPT, episode_key, part_channel


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
        return _decode(await self._redis.xrange(episode.key, min=f"{after_seq + 1}-0"))


def close_and_read(client: redis.Redis, episode: EpisodeId) -> list[dict[str, Any]]:
    """Close an episode and return its parts, for those who are not asynchronous; empty if it is unknown."""
    client.eval(_CLOSE, 1, episode.key, EPISODE_KEPT * 1000)
    return [part for _, _, part in _decode(client.xrange(episode.key))]


def _decode(entries: Any) -> list[tuple[int, str, dict[str, Any]]]:
    return [
        (int(entry_id.split(b"-")[0]), fields[b"role"].decode(), json.loads(fields[b"part"]))
        for entry_id, fields in entries
        if b"part" in fields
    ]
