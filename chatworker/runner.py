"""One chat, run by one owner: state in, work out.

The runner follows hints about its chat. As long as they tell of the state it is working on, it works; when
history, status or archived change it cancels the work and begins what the new state asks for; when somebody else owns
the chat it leaves. A hint is only a reason to look: every commit is fenced, so a lost or late one costs time, never
truth. While a commit of its own is under way it listens but waits, because that commit may be what the hint is about.

Work never ends by accident. An unexpected error is logged and the step begun again, with growing delays, until it
succeeds, the fence is stale, the chat is gone or the runner is cancelled: this is the one place that guarantees it.
"""

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog
from django.conf import settings

from chat.cancellation import heed_cancellation
from chat.channels import Hint, decode_hint
from chat.episode_writer import EpisodeWriter
from chat.episodes import EpisodeId
from chat.errors import ChatNotFound, StaleFence
from chat.execution import Status
from chat.update import Fence, chat_update
from chatworker import metrics
from chatworker.resources import Resources
from chatworker.work.execute_tools import execute_tools
from chatworker.work.generate import generate, wait
from chatworker.work.interrupt import interrupt
from chatworker.work.step import Done, ExecuteTools, Generate, Interrupt, Look, Step, Wait, Work

logger = structlog.get_logger(__name__)

CHANNEL_SIZE = 64
"""Hints that may wait. When it is full the newest is dropped: each carries a snapshot version, a later one always comes
(the sync tick at the latest), and durable state is verified before every commit. 64 is more than a chat changes while
one transaction of its own runs."""
RETRY_FROM, RETRY_UP_TO = 0.1, 5.0
"""Seconds before a step that failed unexpectedly is begun again, doubling."""
STEP_TIMEOUT = 15 * 60.0
"""Seconds after which a step is begun again, or SILENCE_MARGIN more than a model may be silent where that is longer."""
SILENCE_MARGIN = 5 * 60.0


class Effects(Protocol):
    """What a runner asks of its surroundings; a spy in tests."""

    def request_cleanup(self, chat_id: UUID, runner_id: UUID) -> None: ...


class Runner:
    def __init__(self, chat_id: UUID, worker_id: UUID, runner_id: UUID, resources: Resources, effects: Effects) -> None:
        self.chat_id, self.worker_id, self.runner_id = chat_id, worker_id, runner_id
        self._resources = replace(resources, observer=self)
        self._commits_done = asyncio.Event()
        self._commits_done.set()
        self._effects = effects
        self._hints: asyncio.Queue[Hint] = asyncio.Queue(CHANNEL_SIZE)
        self._held: Hint | None = None
        self._ran = False
        self._gave_away = False
        self._watermark = 0
        self._doing: tuple[int, str] = (0, "")
        self._writer: EpisodeWriter | None = None
        self._log = logger.bind(chat_id=str(chat_id), runner_id=str(runner_id))

    @property
    def is_ending(self) -> bool:
        """Whether a commit that may have given the chat away is under way or done: then its lease is gone by right."""
        return self._gave_away or not self._commits_done.is_set()

    # --- hints in ------------------------------------------------------------------------------------------------

    def on_message(self, payload: bytes) -> None:
        if (hint := decode_hint(payload)) is not None:
            self.offer(hint)

    def offer(self, hint: Hint) -> None:
        """Never blocks; see `CHANNEL_SIZE` for what happens when it is full."""
        with contextlib.suppress(asyncio.QueueFull):
            self._hints.put_nowait(hint)

    # --- the loop ------------------------------------------------------------------------------------------------

    async def run(self, first: Step) -> None:
        """Work on the chat until it needs nobody, or belongs to somebody else. May be called once."""
        if self._ran:
            self._log.error("runner run called more than once")
            self._effects.request_cleanup(self.chat_id, self.runner_id)
            return
        self._ran = True
        step: Step | None = first
        async with asyncio.TaskGroup() as group:
            while step is not None and not isinstance(step, Done):
                self._accept(step)
                work = group.create_task(self._keep_working(step), name=f"work-{self.chat_id}")
                step = await self._until_changed(work, group)

    def _accept(self, step: Step) -> None:
        self._watermark = max(self._watermark, step.snapshot_version)
        if isinstance(step, Work):
            self._doing = step.fence.history_version, step.fence.status

    def commit_began(self) -> None:
        self._commits_done.clear()

    def commit_ended(self, result: object) -> None:
        if isinstance(result, Step):
            self._accept(result)
        self._gave_away = isinstance(result, Done)
        self._commits_done.set()

    async def _until_changed(self, work: "asyncio.Task[Step | None]", group: asyncio.TaskGroup) -> Step | None:
        """The step that follows: of the work itself, or of a hint that made the work pointless. None: leave."""
        hinted: asyncio.Task[Hint] | None = None
        try:
            while True:
                hinted = hinted or group.create_task(self._next_hint(), name=f"hints-{self.chat_id}")
                await asyncio.wait({work, hinted}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return None if work.cancelled() else work.result()
                hint, hinted = hinted.result(), None
                while not self._commits_done.is_set():  # again: the next one may have begun while this task woke up
                    await self._commits_done.wait()
                if hint.snapshot_version <= self._watermark:
                    continue
                self._watermark = hint.snapshot_version
                if not self._is_mine(hint):
                    self._log.debug("runner.left", reason="another owner")
                    work.cancel()
                    return None
                if (hint.history_version, hint.status) != self._doing or hint.archived:
                    work.cancel()
                    return self._step_for(hint)
        finally:
            if hinted is not None and not hinted.cancel() and not hinted.cancelled():
                self._held = hinted.result()  # taken out of the channel while the work ended: not to be lost

    async def _next_hint(self) -> Hint:
        held, self._held = self._held, None
        return held or await self._hints.get()

    def _is_mine(self, hint: Hint) -> bool:
        return hint.worker_id == str(self.worker_id) and hint.runner_id == str(self.runner_id)

    def _step_for(self, hint: Hint) -> Step:
        """What a changed chat asks for. An interrupt needs no reading: the hint names the episode to close."""
        fence = Fence(self.worker_id, self.runner_id, hint.history_version, hint.status)
        if hint.status == Status.INTERRUPTING and not hint.archived:
            episode = EpisodeId(self.chat_id, hint.history_version, hint.generation_attempt)
            return Interrupt(self.chat_id, hint.snapshot_version, fence, [], episode)
        return Look(self.chat_id, hint.snapshot_version)

    async def _look(self) -> Step | None:
        """Begin what the chat's row asks for now; None if it is not ours any more."""
        try:
            return await self._resources.commit(partial(self._begin), what="begin_step")
        except (StaleFence, ChatNotFound):
            return None

    def _begin(self) -> Step:
        with chat_update(self.chat_id) as update:
            chat = update.chat
            if (chat.worker_id, chat.runner_id) != (self.worker_id, self.runner_id):
                raise StaleFence
            return self._resources.next_step(update)

    # --- the work ------------------------------------------------------------------------------------------------

    async def _keep_working(self, step: Step) -> Step | None:
        """The step after `step`; after a refusal or an error on the way, what the chat asks for by then."""
        delay = RETRY_FROM
        todo, look = step, Look(step.chat_id, step.snapshot_version)
        while True:
            heed_cancellation()
            try:
                async with asyncio.timeout(_lasts(todo)):
                    return await self._work(todo)
            except ChatNotFound:
                return None
            except StaleFence:
                metrics.FENCE_FAILURES.inc()
                todo = look
                continue
            except Exception:
                metrics.STEP_RETRIES.inc()
                self._log.exception("runner.step_failed", step=type(todo).__name__, retry_after=delay)
            todo = look
            await self._resources.sleep(delay)
            delay = min(delay * 2, RETRY_UP_TO)

    async def _work(self, step: Step) -> Step | None:
        if isinstance(step, Look):
            return await self._look()
        if isinstance(step, Wait):
            return await wait(step, self._resources)
        if isinstance(step, Generate):
            self._writer = EpisodeWriter(self._resources.episodes, step.episode)
            return await generate(step, self._resources, self._writer)
        if isinstance(step, Interrupt):
            return await interrupt(step, self._resources, self._writer)
        assert isinstance(step, ExecuteTools)
        return await execute_tools(step, self._resources)


def _lasts(step: Step) -> float:
    """Seconds after which a step is begun again, beyond those for which it is to wait."""
    asked = step.seconds if isinstance(step, Wait) else 0.0
    return asked + max(STEP_TIMEOUT, settings.CHATD_STREAM_SILENCE_TIMEOUT + SILENCE_MARGIN)
