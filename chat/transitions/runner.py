"""What a runner records of its work: attempts, steps, waiting for the client, and how a turn ends."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings

from chat.draft import NewMessage
from chat.errors import HistoryNotWellFormed, MessageInvalid, NoClientCalls, NothingToAbsorb
from chat.execution import Status, Transition
from chat.models import ChatMessage
from chat.rows import DatabaseTime
from chat.transitions.effects import promote_head_or_wait
from chat.transitions.guard import transition
from chat.update import ChatUpdate


@transition(Transition.RECORD_GENERATION_ATTEMPT)
def record_generation_attempt(update: ChatUpdate) -> int:
    """One more call of the model for this history version; its number, from 1."""
    update.chat.generation_attempt += 1
    update.chat.retry_state = None
    return update.chat.generation_attempt


@transition(Transition.RECORD_RETRY_STATE)
def record_retry_state(update: ChatUpdate, retry_state: dict[str, Any]) -> None:
    """Why and until when the next attempt waits, for people who watch."""
    update.chat.retry_state = retry_state


@transition(Transition.COMMIT_STEP)
def commit_step(
    update: ChatUpdate, messages: Sequence[NewMessage], *, consumes_compaction: bool = False
) -> list[ChatMessage]:
    """What one step of a turn produced, at least one message; `consumes_compaction`: it was the compaction asked for.

    Raises `MessageInvalid`, `HistoryNotWellFormed`.
    """
    if not messages:
        raise MessageInvalid("A step commits at least one message.")
    if consumes_compaction:
        update.chat.compaction_requested_at = None
    return [update.history.append(message) for message in messages]


@transition(Transition.ABSORB_STEERING)
def absorb_steering(update: ChatUpdate) -> list[ChatMessage]:
    """The queued messages that are to steer this turn enter the history, in their order, before the next model call.

    Raises `NothingToAbsorb`, and `HistoryNotWellFormed` while a call waits for its result.
    """
    steering = [queued for queued in update.queue if queued.steering]
    if not steering:
        raise NothingToAbsorb()
    if calls := update.history.outstanding_calls():
        raise HistoryNotWellFormed(outstanding=[call["tool_call_id"] for call in calls])
    added = []
    for queued in steering:
        update.queue.remove(queued)
        update.chat.model = queued.model or update.chat.model
        update.chat.options = queued.options or update.chat.options
        added.append(update.history.add("user", queued.parts, created_by_id=queued.created_by_id))
    return added


@transition(Transition.ENTER_REQUIRES_ACTION)
def enter_requires_action(update: ChatUpdate) -> None:
    """The client has calls to answer; it gets as long as the slowest of their tools may take. `NoClientCalls`."""
    waiting = {call["tool_name"] for call in update.history.client_calls()}
    if not waiting:
        raise NoClientCalls()
    times = [tool.get("timeout_s") for tool in update.chat.client_tools if tool["name"] in waiting]
    longest = max(settings.CHATD_REQUIRES_ACTION_TIMEOUT if time is None else time for time in times)
    update.chat.status = Status.REQUIRES_ACTION
    update.chat.requires_action_deadline_at = DatabaseTime(after=timedelta(seconds=longest))
    update.chat.compaction_requested_at = None


@transition(Transition.FINISH_TURN)
def finish_turn(update: ChatUpdate) -> None:
    """The assistant has nothing to add. Take the next queued message, if any."""
    update.chat.compaction_requested_at = None
    promote_head_or_wait(update)


@transition(Transition.FINISH_ERROR)
def finish_error(update: ChatUpdate, error: dict[str, Any]) -> None:
    """The turn cannot go on; `error` says why (`message`, `kind`, `retryable`, …). History and queue stay."""
    update.chat.status = Status.ERROR
    update.chat.last_error = error
    update.chat.compaction_requested_at = None


@transition(Transition.FINISH_INTERRUPTION)
def finish_interruption(update: ChatUpdate, partial: Sequence[NewMessage]) -> None:
    """The stop is done: `partial` is what had been streamed (may be nothing). The queue's head begins, if any.

    Raises `HistoryNotWellFormed` if a tool call would stay without a result.
    """
    for message in partial:
        update.history.append(message)
    if calls := update.history.outstanding_calls():
        raise HistoryNotWellFormed(outstanding=[call["tool_call_id"] for call in calls])
    update.chat.compaction_requested_at = None
    promote_head_or_wait(update)
