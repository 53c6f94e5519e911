"""What a person does to a message that is still waiting: change it, take it back, let it go first."""

from collections.abc import Sequence
from typing import Any

from chat import content
from chat.execution import State, Status, Transition
from chat.models import ChatMessage, QueuedMessage
from chat.transitions.effects import begin_turn, promote
from chat.transitions.guard import transition
from chat.update import ChatUpdate


@transition(Transition.UPDATE_QUEUED_MESSAGE)
def update_queued_message(
    update: ChatUpdate,
    *,
    queued_id: int,
    parts: Sequence[dict[str, Any]] | None = None,
    position: int | None = None,
) -> QueuedMessage:
    """Other words, another place, or both; `position`: 1 is the head. Nothing new: no version moves.

    Raises `QueuedMessageNotFound`, `MessageInvalid`, `PositionInvalid`.
    """
    queued = update.queue.find(queued_id)
    if parts is not None:
        update.queue.rewrite(queued, content.user_parts(list(parts)))
    if position is not None:
        update.queue.move(queued, position)
    return queued


@transition(Transition.DELETE_QUEUED_MESSAGE)
def delete_queued_message(update: ChatUpdate, *, queued_id: int) -> None:
    """It is never said. Raises `QueuedMessageNotFound`."""
    update.queue.remove(update.queue.find(queued_id))


@transition(Transition.PROMOTE_QUEUED_MESSAGE)
def promote_queued_message(update: ChatUpdate, *, queued_id: int) -> ChatMessage | QueuedMessage:
    """It goes first: a busy chat stops for it, an idle one begins with it. Raises `QueuedMessageNotFound`."""
    queued = update.queue.find(queued_id)
    if update.state in (State.E1, State.A1):
        begin_turn(update)
        return promote(update, queued)
    update.queue.move(queued, 1)
    update.chat.status = Status.INTERRUPTING
    update.chat.compaction_requested_at = None
    return queued
