"""How a person keeps a chat: its title, labels, pin and model, and whether it is archived.

None of it is said in the chat: history and queue keep their versions, and whoever works on it goes on.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chat import transitions
from chat.catalogue import model_named
from chat.errors import ChatNotFound, TransitionNotAllowed
from chat.models import Chat
from chat.update import ChatUpdate, chat_update


def set_properties(chat_id: UUID, wanted: Mapping[str, Any]) -> None:
    """Make the chat what `wanted` says, all of it in one transaction; where it is so already, nothing happens.

    `wanted`: any of title, archived, pinned, labels, model. Raises `ChatNotFound`, `ModelUnknown`, and
    `TransitionNotAllowed` where the chat cannot be archived, brought back, or pinned.
    """
    if "model" in wanted:
        model_named(wanted["model"])
    chat = Chat.objects.filter(pk=chat_id).first()
    if chat is None:
        raise ChatNotFound()
    if any(_property(chat, name) != value for name, value in wanted.items()):
        with chat_update(chat_id) as update:
            _apply(update, wanted)


def _property(chat: Chat, name: str) -> Any:
    return chat.pin_order > 0 if name == "pinned" else getattr(chat, name)


def _apply(update: ChatUpdate, wanted: Mapping[str, Any]) -> None:
    chat = update.chat
    for name in ("title", "labels", "model"):
        if name in wanted:
            setattr(chat, name, wanted[name])
    archived = wanted.get("archived", chat.archived)
    if archived is not chat.archived:
        transitions.set_archived(update, archived=archived)
    pinned = wanted.get("pinned", _property(chat, "pinned"))
    if pinned is not _property(chat, "pinned"):
        if chat.archived:
            raise TransitionNotAllowed("pin", update.state, "An archived chat cannot be pinned: unarchive it first.")
        chat.pin_order = int(pinned)
