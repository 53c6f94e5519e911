"""Who says what to which chat: the beginning of `manage.py chat`, before anything is followed."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from chat import transitions
from chat.errors import ChatNotFound, ChatRefusal
from chat.models import Chat, QueuedMessage
from chat.timeline import NOTHING, View, events_between
from chat.update import chat_read, chat_update


class NoSuchUser(ChatRefusal):
    """There is no such active user."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Sent:
    """`view`: what was known of the chat before the message; `position`: in the queue, None if it began at once."""

    chat_id: UUID
    view: View
    position: int | None = None


def speaker(name: str) -> Any:
    """The active user of that name; "": the first active superuser. Raises `NoSuchUser`."""
    users = get_user_model()._default_manager.filter(is_active=True)
    if name:
        user = users.filter(**{get_user_model().USERNAME_FIELD: name}).first()
        missing = f"There is no active user {name!r}. Make one: manage.py createsuperuser"
    else:
        user = users.filter(is_superuser=True).order_by("pk").first()
        missing = "There is no superuser yet. Make one: manage.py bootstrap"
    if user is None:
        raise NoSuchUser(missing)
    return user


def send(user: Any, text: str, *, chat_id: str, model: str | None) -> Sent:
    """Say `text` as `user` in a new chat, or in the chat `chat_id`. Raises what the transitions refuse."""
    parts = [{"type": "text", "text": text}]
    if not chat_id:
        return Sent(transitions.create_chat(owner=user, parts=parts, model=model).pk, NOTHING)
    chat = _chat_of(user, chat_id)
    _, view = events_between(NOTHING, chat_read(chat.pk))
    with chat_update(chat.pk) as update:
        sent = transitions.send_message(update, parts=parts, author=user, model=model)
        waits = isinstance(sent, QueuedMessage)
        return Sent(chat.pk, view, len(update.queue) if waits else None)


def _chat_of(user: Any, chat_id: str) -> Chat:
    try:
        chat = Chat.objects.select_related("owner").filter(pk=UUID(chat_id)).first()
    except ValueError:
        raise ChatNotFound(f"{chat_id!r} is no chat id: it looks like 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11.") from None
    if chat is None:
        raise ChatNotFound(f"There is no chat {chat_id}.")
    if chat.owner_id != user.pk:
        raise ChatNotFound(f"Chat {chat_id} belongs to {chat.owner}: add --user {chat.owner}")
    return chat
