"""One chat, watched by any number of clients of this process: one loop that reads for all of them.

What wakes it is a hint, a live part, a new client, or the poll that repairs lost messages. Only what one reading of
the database says is told as state; live parts are told in between, in order, and a hole in them is filled from Redis
before anything later. Before a committed step is told, the rest of the episode that led to it is, so that the parts a
client has seen are the text that was saved.

Clients that know the same get the same bytes, made once.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError

from chat import sse
from chat.channels import Hint, LivePart, decode_hint, decode_part, hint_channel, part_channel
from chat.database import DatabaseThreads
from chat.episodes import EpisodeId, EpisodeStore
from chat.errors import ChatNotFound
from chat.outage import REDIS_AWAY
from chat.snapshot import ChatSnapshot, read_snapshot
from chat.stream.client import Client
from chat.stream.listener import Listener
from chat.timeline import (
    IDLE_STATES,
    LOST,
    Event,
    View,
    events_between,
    is_of_this_past,
    needs_all_messages,
    part_event,
)

logger = structlog.get_logger(__name__)

POLL_EVERY = 10.0
"""Seconds between readings without a hint."""
READ_AGAIN_AFTER = 1.0
"""Seconds until the next try after a reading failed."""

_Encoded = tuple[bytes, View]
_BEGINS_AN_ATTEMPT: dict[str, Any] = {
    "snapshot_version": 0, "generation_attempt": 0, "worker_id": None, "runner_id": None,
}  # fmt: skip
"""What a hint may say anew while it tells a client nothing."""


class Feed:
    """`run()` is the loop of one chat; it ends when its last client is gone."""

    def __init__(
        self,
        chat_id: UUID,
        *,
        listener: Listener,
        store: EpisodeStore,
        database: DatabaseThreads,
        poll_every: float = POLL_EVERY,
    ) -> None:
        self.chat_id = chat_id
        self.clients: set[Client] = set()
        self.ended = False
        """Set when the loop takes no more clients; what is left of it only cleans up."""
        self._listener = listener
        self._store = store
        self._database = database
        self._poll_every = poll_every
        self._joining: list[Client] = []
        self._notices: list[Hint | LivePart] = []
        self._must_read = False
        self._woken = asyncio.Event()
        self._known: Hint | None = None
        self._episode = (0, 0)
        self._parts: list[tuple[str, dict[str, Any]]] = []  # (role, part) of the episode, from seq 1

    # --- called from outside the loop --------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        self._joining.append(client)
        self._woken.set()

    def leave(self, client: Client) -> None:
        self.clients.discard(client)
        if client in self._joining:
            self._joining.remove(client)
        self._woken.set()

    def end_clients(self) -> None:
        for client in [*self.clients, *self._joining]:
            client.end()

    def read_again(self) -> None:
        """Something may have been missed."""
        self._must_read = True
        self._woken.set()

    def _notice(self, decode: Callable[[bytes], Hint | LivePart | None], payload: bytes) -> None:
        notice = decode(payload)
        if notice is not None:
            self._notices.append(notice)
            self._woken.set()

    # --- the loop ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        hints, parts = partial(self._notice, decode_hint), partial(self._notice, decode_part)
        await self._listener.subscribe(part_channel(self.chat_id), parts)
        await self._listener.subscribe(hint_channel(self.chat_id), hints)
        try:
            while self.clients or self._joining:
                try:
                    await self._step()
                except ChatNotFound:
                    break
                except (DatabaseError, *REDIS_AWAY) as error:
                    logger.warning("stream.read_failed", chat_id=str(self.chat_id), error=repr(error))
                    await asyncio.sleep(READ_AGAIN_AFTER)
                    self.read_again()
        finally:
            self.ended = True
            self.end_clients()
            await self._listener.unsubscribe(hint_channel(self.chat_id), hints)
            await self._listener.unsubscribe(part_channel(self.chat_id), parts)

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(self._poll_every):
                await self._woken.wait()
        except TimeoutError:
            self._must_read = True
        self._woken.clear()
        notices, self._notices = self._notices, []
        for notice in notices:
            if isinstance(notice, LivePart):
                await self._tell_part(notice)
            elif self._is_news(notice) and not self._follows(notice):
                self._must_read = True
                await self._read_for(self.clients)
        if self._must_read:
            await self._read_for(self.clients)
        if self._joining:
            joining, self._joining = self._joining, []
            known = self._known
            try:
                await self._read_for(joining, joining=True)
            except BaseException:
                self._joining += joining
                raise
            self.clients.update(client for client in joining if not client.ended)
            if known is not None and self._known != known:
                self.read_again()  # the others have not been told, and the hint that would tell them is no news now

    def _is_news(self, hint: Hint) -> bool:
        known = self._known
        return known is None or (
            hint.snapshot_version > known.snapshot_version
            and (
                (hint.history_version, hint.queue_version, hint.retry_state_version)
                != (known.history_version, known.queue_version, known.retry_state_version)
                or (hint.status, hint.archived, hint.generation_attempt)
                != (known.status, known.archived, known.generation_attempt)
            )
        )

    def _follows(self, hint: Hint) -> bool:
        """Whether the hint only says that an attempt begins of which nobody saw anything: there is nothing to tell."""
        known = self._known
        if known is None or replace(hint, **_BEGINS_AN_ATTEMPT) != replace(known, **_BEGINS_AN_ATTEMPT):
            return False
        if any(client.view.episode != self._episode or client.view.seq != 0 for client in self.clients):
            return False
        self._known = hint
        self._episode, self._parts = (hint.history_version, hint.generation_attempt), []
        for client in self.clients:
            client.view = replace(client.view, attempt=hint.generation_attempt)
        return True

    async def _read_for(self, clients: Iterable[Client], *, joining: bool = False) -> None:
        """One reading, told to `clients`."""
        clients = [client for client in clients if not client.ended]
        if not joining:
            self._must_read = False
        if not clients:
            return
        snapshot = await self._database.run(_read, self.chat_id, [client.view for client in clients])
        chat = snapshot.chat
        if self._known is None or chat.snapshot_version >= self._known.snapshot_version:
            self._known = Hint.of(chat)
        await self._tell_rest_of_episodes(clients, snapshot)
        if self._episode != (chat.history_version, chat.generation_attempt):
            self._episode, self._parts = (chat.history_version, chat.generation_attempt), []
        made: dict[View, _Encoded] = {}
        for client in clients:
            self._put(client, made, partial(self._encode_snapshot, snapshot=snapshot))
            if joining:
                client.put(sse.encode(str(self.chat_id), Event("ready", {}, client.view)))
        if chat.generation_attempt:
            await self._fill(len(self._parts))
        self._tell_parts(clients)
        for client in clients:
            client.mark_idle(str(snapshot.state) in IDLE_STATES)

    async def _tell_rest_of_episodes(self, clients: list[Client], snapshot: ChatSnapshot) -> None:
        """The parts between what a client saw of an episode and the step that was committed from it."""
        made: dict[View, _Encoded] = {}
        for client in clients:
            view = client.view
            if view.attempt and view.seq >= 0 and view.revision <= view.history_version < snapshot.chat.history_version:
                if view not in made:
                    made[view] = self._encode_parts(view, await self._rest_of(view))
                self._put(client, made, None)

    async def _rest_of(self, view: View) -> list[tuple[str, dict[str, Any]]]:
        """The parts that follow in the view's episode; none if it was given up for another attempt."""
        rest = await self._stored_parts(view.episode, view.seq)
        if rest and await self._stored_parts((view.history_version, view.attempt + 1), 0):
            return []
        return [(role, part) for _, role, part in rest]

    async def _tell_part(self, live: LivePart) -> None:
        episode = (live.history_version, live.generation_attempt)
        if episode > self._episode:  # its hint was lost, or is still on its way: what was committed before comes first
            self._must_read = True
            await self._read_for(self.clients)
        if episode != self._episode or live.seq <= len(self._parts):
            return
        if live.seq == len(self._parts) + 1:
            self._parts.append((live.role, live.part))
        else:
            await self._fill(len(self._parts))
        self._tell_parts(self.clients)

    async def _fill(self, after_seq: int) -> None:
        for seq, role, part in await self._stored_parts(self._episode, after_seq):
            if seq == len(self._parts) + 1:
                self._parts.append((role, part))

    async def _stored_parts(self, episode: tuple[int, int], after_seq: int) -> list[tuple[int, str, dict[str, Any]]]:
        """What Redis holds; nothing while it is away, because messages do not wait for it."""
        try:
            return await self._store.parts(EpisodeId(self.chat_id, *episode), after_seq=after_seq)
        except REDIS_AWAY as error:
            logger.warning("stream.parts_not_read", chat_id=str(self.chat_id), error=repr(error))
            return []

    def _tell_parts(self, clients: Iterable[Client]) -> None:
        made: dict[View, _Encoded] = {}
        for client in clients:
            if client.view.episode == self._episode and 0 <= client.view.seq < len(self._parts):
                self._put(client, made, lambda view: self._encode_parts(view, self._parts[view.seq :]))

    # --- encoding, once for all clients with the same view -------------------------------------------------------

    def _put(self, client: Client, made: dict[View, _Encoded], make: Callable[[View], _Encoded] | None) -> None:
        view = client.view
        if view not in made and make is not None:
            made[view] = make(view)
        data, client.view = made[view]
        if data:
            client.put(data)

    def _encode_snapshot(self, view: View, snapshot: ChatSnapshot) -> _Encoded:
        if not is_of_this_past(view, snapshot):
            view = LOST
        events, view = events_between(view, snapshot)
        return b"".join(sse.encode(str(self.chat_id), event) for event in events), view

    def _encode_parts(self, view: View, parts: Iterable[tuple[str, dict[str, Any]]]) -> _Encoded:
        data = []
        for role, part in parts:
            event = part_event(view, view.seq + 1, role, part)
            view = event.view
            data.append(sse.encode(str(self.chat_id), event))
        return b"".join(data), view


def _read(chat_id: UUID, views: list[View]) -> ChatSnapshot:
    """What all of `views` need; a second reading in the rare case that one of them needs all messages."""
    after = min(view.revision for view in views) - 1
    snapshot = read_snapshot(chat_id, after_revision=after, with_deleted=True)
    if after >= 0 and any(needs_all_messages(view, snapshot) for view in views):
        snapshot = read_snapshot(chat_id, with_deleted=True)
    return snapshot
