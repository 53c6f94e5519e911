"""All people of the load: so many chats that stream at the same time, until told to end."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from devtools.chaos.load.conversation import Conversation, Endings, Seen, Service
from devtools.chaos.load.journal import Journal

LOOK_EVERY = 0.05


class Crowd:
    """Made by `talking`."""

    def __init__(self, conversations: list[Conversation], endings: Endings) -> None:
        self._conversations, self._endings = conversations, endings
        self.size = len(conversations)

    @property
    def streaming(self) -> int:
        """How many see an answer grow right now."""
        return sum(conversation.is_streaming for conversation in self._conversations)

    @property
    def seen(self) -> list[Seen]:
        return [seen for conversation in self._conversations for seen in conversation.seen]

    async def until_streaming(self, share: float, *, within: float) -> bool:
        """Whether so large a share of the chats stream at the same time within so many seconds."""
        try:
            async with asyncio.timeout(within):
                while self.streaming < share * self.size:  # noqa: ASYNC110  (many screens, no common event)
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            return False
        return True

    async def until_all_have_streamed(self, *, within: float) -> bool:
        """Whether everybody has seen an answer grow within so many seconds."""
        still = list(self._conversations)
        try:
            async with asyncio.timeout(within):
                while still := [one for one in still if not one.is_streaming]:  # noqa: ASYNC110  (as above)
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            return False
        return True

    async def until_one_ends(self, chat_ids: Collection[str], *, within: float) -> bool:
        """Return in the moment in which somebody has seen the last word of an answer in one of these chats, and the
        worker is about to save it; False if nobody has within so many seconds.
        """
        try:
            async with asyncio.timeout(within):
                while await self._endings.next() not in chat_ids:
                    pass
        except TimeoutError:
            return False
        return True

    async def speak_at_once(self, count: int) -> None:
        """So many messages at the same moment; returns when all of them are answered, or not."""
        await asyncio.gather(*(conversation.say_now() for conversation in self._conversations[:count]))

    def hush(self) -> None:
        """Nobody says anything new."""
        for conversation in self._conversations:
            conversation.open.clear()


@asynccontextmanager
async def talking(
    service: Service, journal: Journal, *, chats: int, name: str, seed: str, patience: float
) -> AsyncIterator[Crowd]:
    """People who talk while the block runs; at its end they stop, and wait until their chats are quiet.

    `name` begins the keys of their messages; `patience`: seconds without a new message that a person waits for
    a chat to become quiet.
    """
    endings = Endings()
    conversations = [
        Conversation(service, journal, endings, f"{name}-{number}", f"{seed}/{number}", patience=patience)
        for number in range(chats)
    ]
    crowd = Crowd(conversations, endings)
    async with asyncio.TaskGroup() as group:
        for number, conversation in enumerate(conversations):
            group.create_task(conversation.run(), name=f"person-{number}")
        try:
            yield crowd
        finally:
            crowd.hush()
