"""A stop: close the episode, keep exactly what it holds, and let the queue go on.

Works for any worker, also for one that never saw the stream: the episode is in Redis. Where Redis has less than this
process still remembers (it was emptied), the memory counts.
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


async def interrupt(step: Interrupt, resources: Resources, writer: EpisodeWriter | None) -> Step:
    """Commit the partial answer. Raises `StaleFence` where the chat moved on."""
    parts: list[dict[str, Any]] = []
    if step.episode.generation_attempt:
        try:
            crash_point("interrupt.close.before")
            await resources.episodes.close(step.episode)
            crash_point("interrupt.close.after")
            parts = [part for _, _, part in await resources.episodes.parts(step.episode)]
        except REDIS_AWAY as error:
            logger.warning("interrupt.without_redis", chat_id=str(step.chat_id), error=repr(error))
        if writer is not None and writer.episode == step.episode and len(writer.streamed) > len(parts):
            parts = writer.streamed
    crash_point("interrupt.commit.before")
    following = await resources.commit(partial(_commit, step, resources, parts), what="finish_interruption")
    crash_point("interrupt.commit.after")
    return following


def _commit(step: Interrupt, resources: Resources, parts: list[dict[str, Any]]) -> Step:
    with chat_update(step.chat_id, fence=step.fence) as update:
        finish_with(update, parts)
        return resources.next_step(update)
