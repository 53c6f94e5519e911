"""One step of a turn, as a value.

`begin_step` runs inside an open `chat_update`, usually the one that committed the step before, so that a plain answer
costs three transactions: send; acquire and begin; commit, finish and abandon. What needs no work outside the database
(finishing a turn, taking the next queued message, giving up) is done right there.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from chat import rows, transitions
from chat.episodes import EpisodeId
from chat.execution import Status
from chat.prompt import prompt_rows
from chat.rows.clock import database_now
from chat.update import ChatUpdate, Fence
from chatworker.failure import Failure, judge
from chatworker.models.catalogue import ModelSpec, model_spec
from chatworker.models.protocol import ModelError, ModelRequest, PromptMessage
from chatworker.plan import MAX_STEPS_PER_TURN, decide

NEARLY_DUE = 0.5
"""Seconds: who waited by a clock of their own may be as early as that."""


@dataclass(frozen=True)
class Step:
    """`snapshot_version`: of the transaction that began it; hints up to it say nothing new."""

    chat_id: UUID
    snapshot_version: int


@dataclass(frozen=True)
class Done(Step):
    """Nothing is left to do; the chat belongs to nobody."""


@dataclass(frozen=True)
class Look(Step):
    """What the chat asks for is to be read from its row."""


@dataclass(frozen=True)
class Work(Step):
    fence: Fence
    history: list[PromptMessage] = field(repr=False)
    """What the model sees so far. Good as long as the fence holds, because it names the history version."""


@dataclass(frozen=True)
class Generate(Work):
    spec: ModelSpec
    request: ModelRequest = field(repr=False)

    @property
    def attempt(self) -> int:
        return self.fence.generation_attempt or 0

    @property
    def episode(self) -> EpisodeId:
        return EpisodeId(self.chat_id, self.fence.history_version, self.attempt)


@dataclass(frozen=True)
class Wait(Work):
    """A model call failed, and the next one is not due yet."""

    seconds: float


@dataclass(frozen=True)
class ExecuteTools(Work):
    calls: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Interrupt(Work):
    episode: EpisodeId


def begin_step(update: ChatUpdate, known: list[PromptMessage] | None = None, *, hand_over: bool = False) -> Step:
    """Decide what comes next for the chat of `update`, which its caller owns, and record that it began.

    `known`: the history that the model saw before this transaction, where the caller has it. `hand_over`: calls of
    models and tools are left to another worker, by giving the chat away in the same transaction.
    """
    chat = update.chat
    before = known
    while chat.status == Status.RUNNING and not chat.archived:
        if before is None:
            before = [_prompt(row) for row in prompt_rows(rows.history_of(chat.pk))]
        history = before + [_prompt(row) for row in prompt_rows(update.history.added)]
        plan = decide([(message.role, message.parts) for message in history])
        if plan.action == "finish_turn":
            transitions.finish_turn(update)
        elif hand_over:
            break
        elif plan.action == "execute_tools":
            return ExecuteTools(chat.pk, chat.snapshot_version, _fence(update), history, plan.calls)
        elif plan.action == "give_up":
            transitions.finish_error(update, _too_many_steps().last_error())
        elif any(queued.steering for queued in update.queue):
            transitions.absorb_steering(update)
        else:
            if step := _begin_generation(update, history):
                return step
    if chat.status == Status.INTERRUPTING and not chat.archived:
        episode = EpisodeId(chat.pk, chat.history_version, chat.generation_attempt)
        return Interrupt(chat.pk, chat.snapshot_version, _fence(update), [], episode)
    transitions.abandon(update)
    return Done(chat.pk, chat.snapshot_version)


def _begin_generation(update: ChatUpdate, history: list[PromptMessage]) -> Generate | Wait | None:
    """The attempt is recorded, where it is due; None if there is no sense in one, and the turn ended with the error."""
    chat = update.chat
    if seconds := _early(chat.retry_state):
        return Wait(chat.pk, chat.snapshot_version, _fence(update), history, seconds)
    if chat.generation_attempt >= settings.CHATD_MAX_GENERATION_RETRIES:
        transitions.finish_error(update, _too_many_attempts(chat.generation_attempt).last_error())
        return None
    try:
        spec = model_spec(chat.model)
    except ModelError as error:
        transitions.finish_error(update, judge(error).last_error())
        return None
    attempt = transitions.record_generation_attempt(update)
    request = ModelRequest(messages=history, system=chat.system, options=spec.options | chat.options)
    return Generate(chat.pk, chat.snapshot_version, _fence(update, attempt), history, spec, request)


def _early(retry_state: dict[str, Any] | None) -> float:
    """Seconds until the next attempt is due, also for whoever took over from the one who waits; 0: it is."""
    if not retry_state:
        return 0.0
    try:
        due, delay = datetime.fromisoformat(retry_state["retrying_at"]), retry_state["delay_ms"] / 1000
    except (KeyError, TypeError, ValueError):  # another release wrote it
        return 0.0
    left = min((due - database_now()).total_seconds(), delay)
    return left if left > NEARLY_DUE else 0.0


def _fence(update: ChatUpdate, attempt: int | None = None) -> Fence:
    chat = update.chat
    assert chat.worker_id and chat.runner_id, "a step is begun by the chat's owner"
    return Fence(chat.worker_id, chat.runner_id, chat.history_version, str(chat.status), attempt)


def _prompt(row: Any) -> PromptMessage:
    return PromptMessage(role=row.role, parts=row.parts, model=row.model)


def _too_many_attempts(attempts: int) -> Failure:
    return Failure(
        kind="generic",
        message=f"The answer was begun {attempts} times and never finished. Send a message to try again.",
        retryable=True,
    )


def _too_many_steps() -> Failure:
    return Failure(
        kind="generic",
        message=f"The turn was stopped after {MAX_STEPS_PER_TURN} steps. Send a message to go on.",
        retryable=False,
    )
