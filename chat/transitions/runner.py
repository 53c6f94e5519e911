"""What a runner records of its work: attempts, steps, and how a turn ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chat import content
from chat.errors import HistoryNotWellFormed, MessageInvalid
from chat.execution import Status, Transition
from chat.models import ChatMessage
from chat.transitions.guard import transition
from chat.update import ChatUpdate


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that a runner adds to the history."""

    role: str
    parts: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    usage: dict[str, Any] | None = None
    interrupted: bool = False
    visibility: str = "both"


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
def commit_step(update: ChatUpdate, messages: Sequence[NewMessage]) -> list[ChatMessage]:
    """What one step of a turn produced, at least one message. Raises `MessageInvalid`, `HistoryNotWellFormed`."""
    if not messages:
        raise MessageInvalid("A step commits at least one message.")
    return _add(update, messages)


@transition(Transition.FINISH_TURN)
def finish_turn(update: ChatUpdate) -> None:
    """The assistant has nothing to add. Take the next queued message, if any."""
    update.chat.compaction_requested_at = None
    if update.queue:
        update.close_outstanding_calls(content.INTERRUPTED_BY_MESSAGE)
    update.chat.status = Status.RUNNING if update.promote_head_of_queue() else Status.WAITING


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
    _add(update, partial)
    if update.outstanding_calls():
        raise HistoryNotWellFormed(outstanding=[call["tool_call_id"] for call in update.outstanding_calls()])
    update.chat.compaction_requested_at = None
    update.chat.status = Status.RUNNING if update.promote_head_of_queue() else Status.WAITING


def _add(update: ChatUpdate, messages: Sequence[NewMessage]) -> list[ChatMessage]:
    added = []
    for message in messages:
        if not message.parts:
            raise MessageInvalid("A message has at least one part.")
        if message.role == "tool":
            _require_calls_for(update, message)
        elif calls := update.outstanding_calls():
            raise HistoryNotWellFormed(outstanding=[call["tool_call_id"] for call in calls])
        added.append(
            update.add_message(
                message.role,
                message.parts,
                model=message.model,
                usage=message.usage,
                interrupted=message.interrupted,
                visibility=message.visibility,
            )
        )
    return added


def _require_calls_for(update: ChatUpdate, message: NewMessage) -> None:
    open_calls = {call["tool_call_id"] for call in update.outstanding_calls()}
    for part in message.parts:
        if part.get("type") == "tool_result" and part["tool_call_id"] not in open_calls:
            raise HistoryNotWellFormed(unexpected=part["tool_call_id"])
        open_calls.discard(part.get("tool_call_id"))
