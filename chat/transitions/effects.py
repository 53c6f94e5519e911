"""What several transitions do alike: begin a turn, go on with one, let a message enter the history."""

from collections.abc import Mapping, Sequence
from typing import Any

from chat import content
from chat.execution import Status
from chat.models import ChatMessage, QueuedMessage
from chat.update import ChatUpdate


def begin_turn(update: ChatUpdate) -> None:
    """The chat runs, whatever it was: an error, a deadline and a request to compact are things of the past."""
    update.chat.last_error = None
    resume(update)


def resume(update: ChatUpdate) -> None:
    """The turn goes on; nobody waits for the client any more."""
    chat = update.chat
    chat.status = Status.RUNNING
    chat.requires_action_deadline_at = None
    chat.compaction_requested_at = None


def say(
    update: ChatUpdate, parts: Sequence[dict[str, Any]], *, model: str, options: Mapping[str, Any], **author: Any
) -> ChatMessage:
    """A user's message enters the history; the model that it names stays the chat's, its options hold for its turn."""
    if model:
        update.chat.model = model
    update.chat.options = dict(options)
    return update.history.add("user", parts, **author)


def promote(update: ChatUpdate, queued: QueuedMessage) -> ChatMessage:
    """A queued message enters the history, with its author, model and options; the calls before it are closed."""
    update.history.close_calls(update.history.outstanding_calls(), content.INTERRUPTED_BY_MESSAGE)
    update.queue.remove(queued)
    return say(update, queued.parts, model=queued.model, options=queued.options, created_by_id=queued.created_by_id)


def promote_head_or_wait(update: ChatUpdate) -> None:
    """The turn is over: the queue's head begins the next one, first in, first out; without a queue the chat waits."""
    head = next(iter(update.queue), None)
    if head is not None:
        promote(update, head)
    update.chat.status = Status.WAITING if head is None else Status.RUNNING
