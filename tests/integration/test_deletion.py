"""Who watches a chat while it is deleted; what is deleted is in `test_api_chats.py`."""

import asyncio
from typing import Any

import pytest

from chat import transitions
from chat.api.deletion import delete_chat
from chat.execution import State
from chat.stream.client import Client
from chat.stream.hub import Hub
from chat.timeline import NOTHING
from chat.update import chat_update
from tests.factories import chat_in

WITHIN = 10.0


@pytest.mark.django_db(transaction=True)
def test_a_stream_ends_at_once_when_its_chat_is_deleted(user: Any) -> None:
    chat_id = chat_in(State.E0, user)

    def archive() -> None:
        with chat_update(chat_id) as update:
            transitions.set_archived(update, archived=True)

    async def watch() -> None:
        async with asyncio.timeout(WITHIN), Hub(poll_every=10 * WITHIN) as hub:
            client = hub.watch(chat_id, NOTHING)
            await _until(client, b"event: ready")
            await hub.database.run(archive)
            await _until(client, b'"XE0"')  # hints reach the hub by now
            await hub.database.run(delete_chat, chat_id)
            while not client.ended:
                await client.take(within=WITHIN)

    asyncio.run(watch())


async def _until(client: Client, sign: bytes) -> None:
    seen = b""
    while sign not in seen:
        seen += await client.take(within=WITHIN)
