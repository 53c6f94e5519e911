"""What a person does to a chat: start it, say something, say it otherwise, stop it, shorten what the model sees."""

from collections.abc import Mapping, Sequence
from typing import Any

from chat import content, rows
from chat.catalogue import model_named
from chat.draft import NewMessage
from chat.errors import BusyBehaviorUnknown, ChatNotFound, MessageInvalid, MessageNotFound, NotAUserMessage
from chat.execution import State, Status, Transition
from chat.inputs import generation_options
from chat.models import Chat, ChatMessage, QueuedMessage
from chat.titles import fallback_title
from chat.transitions.effects import begin_turn, promote, resume, say
from chat.transitions.guard import transition
from chat.update import ChatUpdate, chat_creation

_SENDS = {
    "queue": Transition.SEND_MESSAGE_QUEUE,
    "steer": Transition.SEND_MESSAGE_QUEUE,
    "interrupt": Transition.SEND_MESSAGE_INTERRUPT,
}


def create_chat(
    *,
    owner: Any,
    parts: Sequence[dict[str, Any]],
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    title: str = "",
    labels: Sequence[str] = (),
    system: str = "",
    client_tools: Sequence[dict[str, Any]] = (),
    parent: Chat | None = None,
) -> Chat:
    """A new chat of `owner` (a user) that begins with one message; it is running at once.

    `parts`: as in `chat.content.user_parts`; `model`: PROVIDER:NAME, None for the catalogue's default; `options`: as
    in `chat.inputs.GenerationOptions`; `parent`: the owner's chat whose sub-agent this is. Raises `MessageInvalid`,
    `ModelUnknown`, `OptionsInvalid`, `FamilyArchived`, and `ChatNotFound` for somebody else's parent.
    """
    if parent is not None and parent.owner_id != owner.pk:
        raise ChatNotFound()
    parts = content.user_parts(list(parts))
    chat = Chat(
        owner=owner,
        parent=parent,
        root_id=parent.root_id or parent.pk if parent else None,
        title=title or fallback_title(content.text_of(parts)),
        model=model_named(model),
        labels=list(labels),
        system=system,
        client_tools=list(client_tools),
        status=Status.RUNNING,
    )
    with chat_creation(chat) as update, update.moving(Transition.CREATE):
        say(update, parts, model="", options=generation_options(options), created_by=owner)
    return chat


def send_message(
    update: ChatUpdate,
    *,
    parts: Sequence[dict[str, Any]],
    author: Any,
    busy_behavior: str = "queue",
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> ChatMessage | QueuedMessage:
    """A user's message: into history where the chat is idle, else into the queue.

    `busy_behavior` says what a busy chat does: "queue" lets the turn finish, "steer" lets the message join it before
    the next call of the model, "interrupt" stops it first. After an error with a queue the message goes to the tail
    and the head begins. Raises `MessageInvalid`, `BusyBehaviorUnknown`, `ModelUnknown`, `OptionsInvalid`, `QueueFull`.
    """
    if busy_behavior not in _SENDS:
        raise BusyBehaviorUnknown(busy_behavior=busy_behavior)
    parts = content.user_parts(list(parts))
    chosen = model_named(model) if model else ""
    checked = generation_options(options)
    with update.moving(_SENDS[busy_behavior]) as departure:
        if departure in (State.W, State.E0):
            update.history.close_calls(update.history.outstanding_calls(), content.INTERRUPTED_BY_MESSAGE)
            begin_turn(update)
            return say(update, parts, model=chosen, options=checked, created_by=author)
        update.queue.require_room()
        steering = busy_behavior == "steer"
        queued = update.queue.append(parts, created_by=author, model=chosen, options=checked, steering=steering)
        if departure is State.E1:
            begin_turn(update)
            promote(update, next(iter(update.queue)))
        elif busy_behavior == "interrupt":
            _make_way(update)
        return queued


def _make_way(update: ChatUpdate) -> None:
    """A busy chat stops for the queue: a running one is interrupted, pending client calls are answered in its place."""
    if update.chat.status == Status.REQUIRES_ACTION:
        update.history.close_calls(update.history.client_calls(), content.INTERRUPTED_BY_MESSAGE)
        resume(update)
    else:
        update.chat.status = Status.INTERRUPTING


@transition(Transition.EDIT_MESSAGE)
def edit_message(
    update: ChatUpdate,
    *,
    message_id: int,
    parts: Sequence[dict[str, Any]],
    author: Any,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    suffix: Sequence[NewMessage] = (),
) -> ChatMessage:
    """A user's message said otherwise: it and everything after it, the queue included, make way for the new one.

    `suffix`: messages that follow it at once. Raises `MessageNotFound`, `NotAUserMessage`, `MessageInvalid`, …
    """
    parts = content.user_parts(list(parts))
    chosen, checked = model_named(model) if model else "", generation_options(options)
    target = rows.message_of(update.chat.pk, message_id)
    if target is None or update.history.hides(target.pk):
        raise MessageNotFound()
    if target.role != "user" or target.visibility == "model":
        raise NotAUserMessage()
    update.history.delete_from(target.pk, rows.tail_before(update.chat.pk, target.pk))
    update.history.close_calls(update.history.outstanding_calls(), content.INTERRUPTED_BY_EDIT)
    update.queue.clear()
    begin_turn(update)
    replacement = say(update, parts, model=chosen, options=checked, created_by=author)
    for message in suffix:
        update.history.append(message)
    return replacement


@transition(Transition.INTERRUPT)
def interrupt(update: ChatUpdate) -> None:
    """Stop: what has been streamed so far is kept, the queue goes on afterwards."""
    if update.chat.status == Status.REQUIRES_ACTION:
        update.history.close_calls(update.history.client_calls(), content.INTERRUPTED_BY_USER)
        resume(update)
    else:
        update.chat.status = Status.INTERRUPTING
        update.chat.compaction_requested_at = None


@transition(Transition.REQUEST_COMPACTION)
def request_compaction(update: ChatUpdate) -> None:
    """Let a worker summarise the history for the model. No message changes, yet attempts begin anew."""
    begin_turn(update)
    update.chat.compaction_requested_at = rows.DatabaseTime()
    update.history.begin_version()
    update.clear_owner()


@transition(Transition.CLEAR_CONTEXT)
def clear_context(update: ChatUpdate, boundary: Sequence[NewMessage]) -> list[ChatMessage]:
    """The model forgets what was said before `boundary`, at least one row; people still see it.

    Raises `MessageInvalid`, `HistoryNotWellFormed`.
    """
    if not boundary:
        raise MessageInvalid("A boundary has at least one message.")
    update.history.close_calls(update.history.outstanding_calls(), content.INTERRUPTED_BY_USER)
    begin_turn(update)
    update.chat.status = Status.WAITING
    return [update.history.append(message) for message in boundary]
