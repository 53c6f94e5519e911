"""What keeps chats in order: archive them with their family, bring them back, put a broken row right."""

from typing import Any

from chat import content
from chat.errors import TransitionNotAllowed
from chat.execution import Status, Transition
from chat.transitions.guard import transition
from chat.update import ChatUpdate

BROKEN = {
    "message": "The chat was in an invalid state and has been stopped. Send a message to go on.",
    "kind": "generic",
    "retryable": True,
}
"""The `last_error` of a chat that was put right, unless the caller knows better."""


def set_archived(update: ChatUpdate, *, archived: bool) -> None:
    """Archive a chat, or bring it back, with all sub-agents below it; all of them, or none.

    Members that are so already stay untouched. Raises `TransitionNotAllowed` or `InvalidState` for the first member
    that does not allow it, with its `chat_id`; a sub-agent alone cannot be parted from its root.
    """
    transition_name = Transition.SET_ARCHIVED_TRUE if archived else Transition.SET_ARCHIVED_FALSE
    with update.moving(transition_name):
        if update.chat.root_id is not None:
            raise TransitionNotAllowed(
                transition_name, update.state, f"A sub-agent goes with its family: use its root {update.chat.root_id}."
            )
        _set(update, archived)
        for member in update.descendants():
            if member.chat.archived is not archived:
                _move_along(member, transition_name, archived)


def _move_along(member: ChatUpdate, transition_name: Transition, archived: bool) -> None:
    try:
        with member.moving(transition_name):
            _set(member, archived)
    except TransitionNotAllowed as refusal:
        refusal.details["chat_id"] = str(member.chat.pk)
        refusal.detail = f"The sub-agent {member.chat.pk} is in state {refusal.state}: {refusal.detail}"
        raise


def _set(update: ChatUpdate, archived: bool) -> None:
    update.chat.archived = archived
    if archived:
        update.chat.pin_order = 0


@transition(Transition.RECONCILE_INVALID_STATE)
def reconcile_invalid_state(update: ChatUpdate, error: dict[str, Any] | None = None) -> None:
    """A row that the machine does not know becomes an error that a person can go on from; nothing said is lost."""
    update.history.close_calls(update.history.client_calls(), content.INVALID_STATE)
    chat = update.chat
    chat.status = Status.ERROR
    chat.archived = False
    chat.last_error = error or dict(BROKEN)
    chat.requires_action_deadline_at = None
    chat.compaction_requested_at = None
