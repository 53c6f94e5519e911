"""The runners of one process: begin, route, renew, let go.

Keys are (chat, runner): after a takeover within the process two runners of one chat exist for a moment; both hear the
hints, the old one sees another owner and leaves. All of it runs on the worker's event loop, so there is no lock to hold
wrongly: what waits for a runner's end waits for its task.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import structlog

from chat import capacity, transitions
from chat.channels import Hint, hint_channel
from chat.crash import crash_point
from chat.errors import ChatNotFound, StaleFence
from chat.models import Chat
from chat.outage import DATABASE_AWAY
from chat.stream.listener import Listener
from chat.update import chat_update
from chatworker import metrics
from chatworker.acquisition import acquire, fairest, wake_next_in_line
from chatworker.leases import Key, LeaseClock
from chatworker.resources import Resources
from chatworker.runner import Runner
from chatworker.work.commit import commit
from chatworker.work.step import Done, Step

logger = structlog.get_logger(__name__)

SHUTDOWN_DATABASE_TIMEOUT = 5.0
"""Seconds for all database work of a shutdown; what is not handed over by then, the lease's end hands over."""
SUBSCRIBED_WITHIN = 0.05
"""Seconds that an acquisition waits for the subscription, so that no hint is missed; beyond that it reads once more."""


class RunnerManager:
    def __init__(
        self,
        worker_id: UUID,
        resources: Resources,
        listener: Listener,
        *,
        lease_ttl: float,
        slots: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker_id = worker_id
        self._resources = replace(resources, begins_steps=lambda: self.accepting)
        self._listener = listener
        self._lease_ttl = lease_ttl
        self._slots = slots
        self._clock = clock
        self._runners: dict[Key, Runner] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._given_back: set[Key] = set()
        self._taking: dict[UUID, bool] = {}
        """Chats that are being taken, and whether somebody woke us for them since."""
        self._visits: set[asyncio.Task[Any]] = set()
        self._drained = asyncio.Event()
        self._closing = threading.Event()
        self.leases = LeaseClock()

    @property
    def accepting(self) -> bool:
        """Whether it takes chats; may be asked from any thread."""
        return not self._closing.is_set()

    @property
    def running(self) -> list[Key]:
        return list(self._runners)

    async def run_chat(self, chat_id: UUID) -> bool:
        """Take the chat if nobody has it, and run it to its end. What a wake-up asks for; harmless to repeat.

        False if this worker takes nothing any more: the wake-up is for another.
        """
        if not self.accepting:
            return False
        visit = asyncio.current_task()
        assert visit is not None
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)
        try:
            if len(self._visits) >= self._slots:
                chat_id = await self._resources.database.run(fairest, chat_id)
                if not self.accepting:
                    return False
            has_run = await self._run(chat_id)
        except DATABASE_AWAY as error:  # the sweep finds the chat when it is back
            logger.warning("chat.not_taken", chat_id=str(chat_id), error=repr(error).strip())
            return True
        if has_run and capacity.is_limited():  # who took nothing freed no place, and would be woken for it again
            with suppress(*DATABASE_AWAY):  # the sweep wakes them
                await self._resources.database.run(wake_next_in_line)
        return True

    async def _run(self, chat_id: UUID) -> bool:
        """Whether there was anything to take."""
        runner_id = uuid4()
        key = chat_id, runner_id
        runner = Runner(chat_id, self.worker_id, runner_id, self._resources, self)
        subscribing = asyncio.create_task(
            self._listener.subscribe(hint_channel(chat_id), runner.on_message), name=f"subscribe-{chat_id}"
        )
        may_be_ours = True
        try:
            await asyncio.wait({subscribing}, timeout=SUBSCRIBED_WITHIN)
            heard_all = subscribing.done()
            acquired_at = self._clock()
            step = await self._take(chat_id, runner_id)
            if step is None or isinstance(step, Done):
                may_be_ours = False
                return step is not None
            if not heard_all:
                await subscribing
                await self._offer_what_was_missed(runner)
            if not self._drained.is_set():  # else closed meanwhile, and `close` did not know of this chat
                may_be_ours = not await self._runs_to_its_end(key, runner, step, acquired_at)
            return True
        finally:
            if may_be_ours:
                await self._give_back(key)
            await subscribing
            await self._listener.unsubscribe(hint_channel(chat_id), runner.on_message)
            self._given_back.discard(key)

    async def _take(self, chat_id: UUID, runner_id: UUID) -> Step | None:
        """None if there is nothing to take, also for those who woke us while we looked.

        One look at a time: a chat whose row somebody holds for seconds takes one database thread, however often the
        sweep repeats its wake-up, and not all of them from the other chats.
        """
        if chat_id in self._taking:
            self._taking[chat_id] = True
            return None
        try:
            while True:
                self._taking[chat_id] = False
                step = await self._resources.database.run(acquire, chat_id, self.worker_id, runner_id)
                if step is not None or not self._taking[chat_id]:
                    return step
        finally:
            del self._taking[chat_id]

    async def _runs_to_its_end(self, key: Key, runner: Runner, step: Step, acquired_at: float) -> bool:
        """Whether the runner ended by itself, which it does when the chat is nobody's or somebody else's."""
        self._runners[key] = runner
        self.leases.taken(key, acquired_at)
        task = self._tasks[key] = asyncio.create_task(runner.run(step), name=f"runner-{runner.chat_id}")
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._runners.pop(key, None)
            self._tasks.pop(key, None)
            self.leases.given_up(key)
        if task.cancelled():
            return False
        if error := task.exception():
            raise error
        return True

    async def _give_back(self, key: Key) -> None:
        """A chat that nobody here works on any more is nobody's, if it is still ours; others go on at once.

        Where the database stays away the end of the lease does it instead.
        """
        if key in self._given_back:
            return
        self._given_back.add(key)
        chat_id, runner_id = key
        try:
            async with asyncio.timeout(self._lease_ttl if self.accepting else SHUTDOWN_DATABASE_TIMEOUT):
                give_back = partial(_hand_over, chat_id, self.worker_id, runner_id)
                await commit(self._resources.database, give_back, what="hand_over")
        except Exception as error:  # whatever it is, the others are given back
            logger.warning("worker.hand_over_failed", chat_id=str(chat_id), error=repr(error))

    async def _offer_what_was_missed(self, runner: Runner) -> None:
        """What changed between the reading and the subscription said so to nobody: read once more."""
        try:
            rows = await self._resources.database.run(_read_rows, {runner.chat_id})
        except DATABASE_AWAY as error:
            logger.warning("sync.failed", error=repr(error))  # the next tick of the sync makes it good
            return
        for hint in rows.values():
            runner.offer(hint)

    def request_cleanup(self, chat_id: UUID, runner_id: UUID) -> None:
        """End a runner without waiting for it. Asking twice, or for an unknown one, is harmless."""
        if task := self._tasks.get((chat_id, runner_id)):
            task.cancel()

    # --- leases --------------------------------------------------------------------------------------------------

    def lost(self, keys: Iterable[Key]) -> None:
        """A heartbeat could not renew these; a tick that failed says nothing of any."""
        for key in keys:
            if (runner := self._runners.get(key)) and not runner.is_ending and not self._tasks[key].cancelling():
                metrics.LEASES_LOST.inc()
                logger.warning("lease.lost", chat_id=str(key[0]), runner_id=str(key[1]))
                self.request_cleanup(*key)

    def stop_expired(self, *, margin: float) -> None:
        """End runners whose lease may be over by our own clock, `margin` seconds early: others may begin then."""
        for chat_id, runner_id in self.leases.not_renewed_since(self._clock() - self._lease_ttl + margin):
            self.leases.given_up((chat_id, runner_id))  # once
            logger.warning("lease.not_renewed_in_time", chat_id=str(chat_id), runner_id=str(runner_id))
            self.request_cleanup(chat_id, runner_id)

    # --- sync ----------------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Offer every runner its chat's row as it stands: repairs lost hints. No runner, no query."""
        held = list(self._runners.items())  # those that begin while the query runs are not in its answer
        if not held:
            return
        hints = await self._resources.database.run(_read_rows, {chat_id for (chat_id, _), _ in held})
        for (chat_id, runner_id), runner in held:
            if hint := hints.get(chat_id):
                runner.offer(hint)
            else:
                self.request_cleanup(chat_id, runner_id)

    # --- the end -------------------------------------------------------------------------------------------------

    def stop_draining(self) -> None:
        """Hand over now what `close` still waits for."""
        logger.info("worker.told_to_hand_over", chats=len(self._visits))
        self._drained.set()

    async def close(self, *, drain_timeout: float) -> None:
        """Take nothing more; let what runs finish for `drain_timeout` seconds, then hand the rest over at once.

        A chat that is being taken at this moment is one of those that run.
        """
        self._closing.set()
        if self._visits and drain_timeout:
            logger.info("worker.draining", chats=len(self._visits), timeout=drain_timeout)
            await self._drain(drain_timeout)
        self._drained.set()
        left = self.running
        for task in self._tasks.values():
            task.cancel()
        if left:
            logger.info("worker.handing_over", chats=len(left))
        # Not after the runners have ended: one may hang in a call, and its commits are refused from now on.
        giving = {asyncio.create_task(self._give_back(key), name=f"give-back-{key[0]}") for key in left}
        if ending := giving | self._visits:
            _, late = await asyncio.wait(ending, timeout=SHUTDOWN_DATABASE_TIMEOUT)
            if late:
                logger.warning("worker.closed_early", waited_for=sorted(task.get_name() for task in late))

    async def _drain(self, seconds: float) -> None:
        """Until every visit has ended, the time is over, or somebody is out of patience."""
        told = asyncio.create_task(self._drained.wait(), name="drain-told")
        left: set[asyncio.Task[Any]] = set(self._visits)
        deadline = self._clock() + seconds
        while left and not told.done() and (remaining := deadline - self._clock()) > 0:
            _, left = await asyncio.wait({*left, told}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            left.discard(told)
        told.cancel()


def _read_rows(chat_ids: set[UUID]) -> dict[UUID, Hint]:
    return {chat.pk: Hint.of(chat) for chat in Chat.objects.filter(pk__in=chat_ids)}


def _hand_over(chat_id: UUID, worker_id: UUID, runner_id: UUID) -> None:
    """Nobody's chat again; the door wakes another worker, because the chat is runnable and unowned."""
    crash_point("hand_over.before")
    try:
        with chat_update(chat_id) as update:
            if (update.chat.worker_id, update.chat.runner_id) != (worker_id, runner_id):
                raise StaleFence
            transitions.abandon(update)
        crash_point("hand_over.after")
    except (StaleFence, ChatNotFound):
        pass
