"""Call the model, stream its parts into the episode, commit its answer; or record why there is none yet.

Holds no lock and no connection while the model speaks. Cancelled by the runner when the chat moves on: what was
streamed by then stays in the episode, for the interrupt to keep.
"""

import asyncio
from datetime import timedelta
from functools import partial

import structlog
from django.conf import settings

from chat import transitions
from chat.crash import crash_point
from chat.episode_writer import EpisodeWriter
from chat.episodes import EpisodeFull, EpisodeRefused
from chat.rows.clock import database_now
from chat.transitions import NewMessage
from chat.update import chat_update
from chatworker import metrics
from chatworker.failure import Failure, backoff, judge
from chatworker.models.protocol import ModelAnswer, ModelError
from chatworker.resources import Resources
from chatworker.work.step import Generate, Step, Wait

logger = structlog.get_logger(__name__)


async def generate(step: Generate, resources: Resources, writer: EpisodeWriter) -> Step:
    """One attempt; returns the step that follows. Raises `StaleFence` where the chat moved on."""
    try:
        answer = await _stream(step, resources, writer)
    except ModelError as error:
        return await _failed(step, resources, judge(error))
    crash_point("answer.commit.before")
    metrics.GENERATIONS.inc()
    following = await resources.commit(partial(_commit_answer, step, resources, answer), what="commit_step")
    crash_point("answer.commit.after")
    await resources.episodes_closed(step.episode)
    crash_point("episode.closed")
    return following


async def _stream(step: Generate, resources: Resources, writer: EpisodeWriter) -> ModelAnswer:
    """The answer, its parts handed to the episode as they come."""
    silence = settings.CHATD_STREAM_SILENCE_TIMEOUT
    client = resources.models.client(step.spec)
    kind = "startup_timeout"
    began_at = asyncio.get_running_loop().time()
    crash_point("model.request.before")
    try:
        async with (
            writer.sending(),
            asyncio.timeout(silence) as deadline,
            client.stream(step.request) as stream,
        ):
            crash_point("model.request.after")
            async for delta in stream:
                if kind == "startup_timeout":
                    metrics.FIRST_PART.observe(asyncio.get_running_loop().time() - began_at)
                if kind == "startup_timeout":
                    crash_point("model.first_part")
                kind = "stream_silence_timeout"
                deadline.reschedule(asyncio.get_running_loop().time() + silence)
                try:
                    writer.add(delta)
                except EpisodeFull:
                    logger.debug("episode.full", chat_id=str(step.chat_id))  # saved all the same, only not previewed
                except EpisodeRefused:
                    pass  # closed by whoever took over; the commit will be refused
            crash_point("model.answered")
            return stream.answer()
    except TimeoutError:
        raise ModelError(f"Nothing came for {silence:g} s.", provider=step.spec.kind, kind=kind) from None


def _commit_answer(step: Generate, resources: Resources, answer: ModelAnswer) -> Step:
    with chat_update(step.chat_id, fence=step.fence) as update:
        if answer.parts:
            message = NewMessage("assistant", answer.parts, model=step.spec.full_name, usage=answer.usage)
            transitions.commit_step(update, [message])
        else:
            transitions.finish_turn(update)  # a model that has nothing to say has finished
        return resources.next_step(update, known=step.history)


async def _failed(step: Generate, resources: Resources, failure: Failure) -> Step:
    """Begin again later, or end the turn with the error."""
    log = logger.bind(chat_id=str(step.chat_id), attempt=step.attempt, kind=failure.kind)
    if not failure.retryable or step.attempt >= settings.CHATD_MAX_GENERATION_RETRIES:
        metrics.GENERATION_FAILURES.labels(failure.kind).inc()
        log.warning("generation.failed", error=failure.detail or failure.message)
        return await resources.commit(partial(_commit_error, step, resources, failure), what="finish_error")
    delay = max(backoff(step.attempt - 1), failure.retry_after)
    metrics.GENERATION_RETRIES.labels(failure.kind).inc()
    log.info("generation.retried", error=failure.detail or failure.message, retry_after=delay)
    waiting = await resources.commit(partial(_record_retry, step, failure, delay), what="record_retry_state")
    crash_point("retry.recorded")
    return waiting


async def wait(step: Wait, resources: Resources) -> Step:
    """Let the time pass, then begin again."""
    await resources.sleep(step.seconds)
    return await resources.commit(partial(_begin_again, step, resources), what="record_generation_attempt")


def _commit_error(step: Generate, resources: Resources, failure: Failure) -> Step:
    with chat_update(step.chat_id, fence=step.fence) as update:
        transitions.finish_error(update, failure.last_error())
        return resources.next_step(update, known=step.history)


def _record_retry(step: Generate, failure: Failure, delay: float) -> Wait:
    retrying_at = database_now() + timedelta(seconds=delay)
    with chat_update(step.chat_id, fence=step.fence) as update:
        transitions.record_retry_state(update, failure.retry_state(step.attempt, delay, retrying_at))
    return Wait(step.chat_id, update.chat.snapshot_version, step.fence, step.history, delay)


def _begin_again(step: Wait, resources: Resources) -> Step:
    with chat_update(step.chat_id, fence=step.fence) as update:
        return resources.next_step(update, known=step.history)
