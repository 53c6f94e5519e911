"""What a person does to a chat: start it, say something, stop it."""

from collections.abc import Sequence
from typing import Any

from chat import content
from chat.catalogue import model_named
from chat.errors import BusyBehaviorUnknown
from chat.execution import State, Status, Transition
from chat.models import Chat, ChatMessage, QueuedMessage
from chat.titles import fallback_title
from chat.transitions.guard import transition
from chat.update import ChatUpdate, chat_creation

E0, E1, W = State.E0, State.E1, State.W

_SENDS = {
    "queue": Transition.SEND_MESSAGE_QUEUE,
    "interrupt": Transition.SEND_MESSAGE_INTERRUPT,
}


def create_chat(
    *,
    owner: Any,
    parts: Sequence[dict[str, Any]],
    model: str | None = None,
    title: str = "",
    labels: Sequence[str] = (),
    system: str = "",
    client_tools: Sequence[dict[str, Any]] = (),
) -> Chat:
    """A new chat of `owner` (a user) that begins with one message; it is running at once.

    `parts`: as in `chat.content.user_parts`; `model`: PROVIDER:NAME, None for the catalogue's default.
    Raises `MessageInvalid`, `ModelUnknown`.
    """
    parts = content.user_parts(list(parts))
    chat = Chat(
        owner=owner,
        title=title or fallback_title(content.text_of(parts)),
        model=model_named(model),
        labels=list(labels),
        system=system,
        client_tools=list(client_tools),
        status=Status.RUNNING,
    )
    with chat_creation(chat) as update, update.moving(Transition.CREATE):
        update.add_message("user", parts, created_by=owner)
    return chat


def send_message(
    update: ChatUpdate,
    *,
    parts: Sequence[dict[str, Any]],
    author: Any,
    busy_behavior: str = "queue",
    model: str | None = None,
) -> ChatMessage | QueuedMessage:
    """A user's message: into history where the chat is idle, else into the queue.

    `busy_behavior` says what a busy chat does: "queue" lets it finish, "interrupt" stops it first. After an error
    with a queue the message goes to the tail and the head begins. Raises `MessageInvalid`, `BusyBehaviorUnknown`,
    `ModelUnknown`, `QueueFull`.
    """
    if busy_behavior not in _SENDS:
        raise BusyBehaviorUnknown(busy_behavior=busy_behavior)
    parts = content.user_parts(list(parts))
    chosen = model_named(model) if model else ""
    with update.moving(_SENDS[busy_behavior]) as departure:
        if departure in (W, E0):
            return _say_now(update, parts, author, chosen)
        update.require_room_in_queue()
        queued = update.enqueue(parts, created_by=author, model=chosen)
        if departure is E1:
            update.close_outstanding_calls(content.INTERRUPTED_BY_MESSAGE)
            _start_work(update)
            update.promote_head_of_queue()
        elif busy_behavior == "interrupt":
            _make_way(update)
        return queued


def _say_now(update: ChatUpdate, parts: Sequence[dict[str, Any]], author: Any, model: str) -> ChatMessage:
    update.close_outstanding_calls(content.INTERRUPTED_BY_MESSAGE)
    if model:
        update.chat.model = model
    _start_work(update)
    return update.add_message("user", parts, created_by=author)


def _start_work(update: ChatUpdate) -> None:
    chat = update.chat
    chat.status = Status.RUNNING
    chat.last_error = None
    chat.requires_action_deadline_at = None
    chat.compaction_requested_at = None


def _make_way(update: ChatUpdate) -> None:
    """A busy chat stops for the queue: running ones interrupt, waiting client calls are answered for the client."""
    if update.chat.status == Status.REQUIRES_ACTION:
        _close_client_calls(update, content.INTERRUPTED_BY_MESSAGE)
        _resume(update)
    else:
        update.chat.status = Status.INTERRUPTING


@transition(Transition.INTERRUPT)
def interrupt(update: ChatUpdate) -> None:
    """Stop: what has been streamed so far is kept, the queue goes on afterwards."""
    if update.chat.status == Status.REQUIRES_ACTION:
        _close_client_calls(update, content.INTERRUPTED_BY_USER)
        _resume(update)
    else:
        update.chat.status = Status.INTERRUPTING
        update.chat.compaction_requested_at = None


def _close_client_calls(update: ChatUpdate, reason: str) -> None:
    update.close_outstanding_calls(reason, only={tool["name"] for tool in update.chat.client_tools})


def _resume(update: ChatUpdate) -> None:
    chat = update.chat
    chat.status = Status.RUNNING
    chat.requires_action_deadline_at = None
    chat.compaction_requested_at = None
