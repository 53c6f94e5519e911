"""A stop: close the episode, keep exactly what it holds, and let the queue go on.

Works for any worker, also for one that never saw the stream: the episode is in Redis. Where Redis has less than this
process still remembers (it was emptied), the memory counts. Where nobody here remembers, a Redis that is away is waited
for: what it has is what people saw.
"""

from functools import partial
from typing import Any

import structlog

from chat.crash import crash_point
from chat.episode_writer import EpisodeWriter
from chat.outage import REDIS_AWAY
from chat.stopping import finish_with
from chat.update import chat_update
from chatworker.resources import Resources
from chatworker.work.step import Interrupt, Step

logger = structlog.get_logger(__name__)


PATIENCE = 10.0
"""Seconds that a stop waits for Redis where nothing is remembered here."""
ASK_AGAIN_AFTER = 0.25


async def interrupt(step: Interrupt, resources: Resources, writer: EpisodeWriter | None) -> Step:
    """Commit the partial answer. Raises `StaleFence` where the chat moved on."""
    remembered = writer.streamed if writer is not None and writer.episode == step.episode else None
    parts: list[dict[str, Any]] = []
    if step.episode.generation_attempt:
        parts = await _stored(step, resources, patience=PATIENCE if remembered is None else 0.0)
    if remembered is not None and len(remembered) > len(parts):
        parts = remembered
    crash_point("interrupt.commit.before")
    following = await resources.commit(partial(_commit, step, resources, parts), what="finish_interruption")
    crash_point("interrupt.commit.after")
    return following


async def _stored(step: Interrupt, resources: Resources, *, patience: float) -> list[dict[str, Any]]:
    """What Redis has of the episode, closed first so that nothing is added later; nothing where it stays away."""
    left = patience
    while True:
        try:
            crash_point("interrupt.close.before")
            await resources.episodes.close(step.episode)
            crash_point("interrupt.close.after")
            return [part for _, _, part in await resources.episodes.parts(step.episode)]
        except REDIS_AWAY as error:
            if left == patience:
                logger.warning("interrupt.without_redis", chat_id=str(step.chat_id), error=repr(error), patience=left)
        if left <= 0:
            return []
        left -= ASK_AGAIN_AFTER
        await resources.sleep(ASK_AGAIN_AFTER)


def _commit(step: Interrupt, resources: Resources, parts: list[dict[str, Any]]) -> Step:
    with chat_update(step.chat_id, fence=step.fence) as update:
        finish_with(update, parts)
        return resources.next_step(update)
