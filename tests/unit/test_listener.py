"""One connection for all that a process wants to hear: who is told of what arrives."""

import asyncio
from uuid import uuid4

from chat.channels import hint_channel
from chat.stream.listener import Listener
from chatworker.runner import CHANNEL_SIZE, Runner
from tests.runners import Spy, hint, surroundings

CHAT = uuid4()


def told(listener: Listener, channel: str, data: bytes) -> None:
    listener._deliver({"type": "message", "channel": channel.encode(), "data": data})


def test_one_runner_that_is_full_or_has_ended_does_not_stop_the_others() -> None:
    async def scenario() -> list[int]:
        listener = Listener("redis://127.0.0.1:1", on_reconnect=lambda: None)
        full, ended, other = (Runner(CHAT, uuid4(), uuid4(), surroundings(), Spy()) for _ in range(3))
        for runner in (full, ended, other):
            await listener.subscribe(hint_channel(CHAT), runner.on_message)
        for version in range(CHANNEL_SIZE):
            full.offer(hint(CHAT, snapshot_version=version))
        await listener.unsubscribe(hint_channel(CHAT), ended.on_message)
        told(listener, hint_channel(CHAT), hint(CHAT, snapshot_version=99).encode().encode())
        return [runner._hints.qsize() for runner in (full, ended, other)]

    assert asyncio.run(scenario()) == [CHANNEL_SIZE, 0, 1]


def test_a_hint_for_an_unknown_chat_and_one_that_nobody_can_read_are_ignored() -> None:
    async def scenario() -> int:
        listener = Listener("redis://127.0.0.1:1", on_reconnect=lambda: None)
        runner = Runner(CHAT, uuid4(), uuid4(), surroundings(), Spy())
        await listener.subscribe(hint_channel(CHAT), runner.on_message)
        told(listener, hint_channel(uuid4()), hint(CHAT).encode().encode())
        told(listener, hint_channel(CHAT), b"of a newer release")
        return runner._hints.qsize()

    assert asyncio.run(scenario()) == 0
