"""What the work on a chat needs from its process, gathered once and handed in."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from chat.database import DatabaseThreads
from chat.episodes import EpisodeId, EpisodeStore
from chat.outage import REDIS_AWAY
from chat.update import ChatUpdate
from chatworker.models.protocol import PromptMessage
from chatworker.models.registry import ModelRegistry
from chatworker.work.commit import commit
from chatworker.work.step import Step, begin_step

R = TypeVar("R")
logger = structlog.get_logger(__name__)


class CommitObserver(Protocol):
    """Whoever must know that a commit is under way: a hint may be of that very commit."""

    def commit_began(self) -> None: ...

    def commit_ended(self, result: object) -> None:
        """`result`: what the transaction returned; None if it was refused or given up."""


class Unobserved:
    def commit_began(self) -> None:
        pass

    def commit_ended(self, result: object) -> None:
        pass


@dataclass(frozen=True)
class Resources:
    database: DatabaseThreads
    episodes: EpisodeStore
    models: ModelRegistry
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    observer: CommitObserver = field(default_factory=Unobserved)
    begins_steps: Callable[[], bool] = lambda: True
    """Whether this worker begins further steps; one that was told to stop finishes those that run."""

    def next_step(self, update: ChatUpdate, known: list[PromptMessage] | None = None) -> Step:
        """What comes next for a chat whose step is committed in `update`; see `begin_step`."""
        return begin_step(update, known, hand_over=not self.begins_steps())

    async def commit(self, transaction: Callable[[], R], *, what: str) -> R:
        """One transaction of a runner; see `chatworker.work.commit`."""
        result: R | None = None
        self.observer.commit_began()
        try:
            result = await commit(self.database, transaction, what=what)
            return result
        finally:
            self.observer.commit_ended(result)

    async def episodes_closed(self, episode: EpisodeId) -> None:
        """Close an episode whose step is committed; without Redis there is nothing to close."""
        try:
            await self.episodes.close(episode)
        except REDIS_AWAY as error:
            logger.debug("episode.not_closed", episode=episode.key, error=repr(error))
