"""What an operator may do to a chat: one table of buttons, each a transition with the refusals of the API.

A button does its work in a transaction of its own, through the door. Knows no page; who may press is checked by
whoever shows the button (`chat/admin/pressing.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from chat import hints, transitions
from chat.draft import NewMessage
from chat.errors import TransitionNotAllowed
from chat.execution import RUNNABLE, State, Transition, arrivals
from chat.explain.meaning import MEANING
from chat.snapshot import read_snapshot
from chat.stopping import NO_MESSAGES, stop_chat
from chat.update import chat_update

CLEARED = "An operator cleared the error."
"""What people then read in the history; the model does not see it, and forgets nothing."""
WORKED_ON = "Somebody works on the chat already."


@dataclass(frozen=True, slots=True)
class Button:
    name: str
    label: str
    icon: str
    done: str
    """What is then said of the chat: "interrupted"."""
    press: Callable[[UUID], object]
    """Raises `ChatRefusal`."""
    states: frozenset[State]
    """In which it makes sense; pressed in others, it is refused."""


def interrupt(chat_id: UUID) -> None:
    stop_chat(chat_id)


def wake(chat_id: UUID) -> None:
    """Ask for a worker. Changes nothing; harmless to lose or repeat, like every wake-up."""
    snapshot = read_snapshot(chat_id, after_revision=NO_MESSAGES)
    if snapshot.state not in RUNNABLE:
        raise TransitionNotAllowed("wake", snapshot.state)
    if snapshot.has_fresh_lease:
        raise TransitionNotAllowed("wake", snapshot.state, WORKED_ON)
    hints.publish_wake_up(chat_id)


def archive(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=True)


def unarchive(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=False)


def reconcile(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.reconcile_invalid_state(update)


def clear_error(chat_id: UUID) -> None:
    """Back to waiting: `clear_context` with a boundary that hides nothing from the model."""
    with chat_update(chat_id) as update:
        if update.state is State.W:
            raise TransitionNotAllowed(Transition.CLEAR_CONTEXT, State.W, "The chat has not stopped on an error.")
        note = NewMessage("system", [{"type": "text", "text": CLEARED}], visibility="user")
        transitions.clear_context(update, [note])


def why_not(button: Button, state: State) -> str:
    """Why it is refused in `state`, where that alone is the reason."""
    if button.name == "clear_error" and state is State.E1:
        return "Messages wait in the queue: the next message, or promoting one of them, sets it going."
    words = MEANING[state].split(".")[0]
    return f"A chat in state {state} ({words}) cannot be {button.done}."


def _states(transition: Transition) -> frozenset[State]:
    return frozenset(state for state in State if arrivals(transition, state))


BUTTONS: Mapping[str, Button] = {
    button.name: button
    for button in (
        Button("interrupt", "Interrupt", "stop_circle", "interrupted", interrupt, _states(Transition.INTERRUPT)),
        Button("wake", "Wake", "notifications_active", "woken", wake, RUNNABLE),
        Button(
            "clear_error",
            "Clear the error",
            "healing",
            "put back to waiting",
            clear_error,
            _states(Transition.CLEAR_CONTEXT) - {State.W},
        ),
        Button("archive", "Archive", "archive", "archived", archive, _states(Transition.SET_ARCHIVED_TRUE)),
        Button("unarchive", "Unarchive", "unarchive", "unarchived", unarchive, _states(Transition.SET_ARCHIVED_FALSE)),
        Button(
            "reconcile",
            "Put right",
            "build",
            "put right",
            reconcile,
            _states(Transition.RECONCILE_INVALID_STATE),
        ),
    )
}
