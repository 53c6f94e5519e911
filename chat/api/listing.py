"""A user's chats, newest activity first, in pages that cost the same wherever they begin.

A page begins after the (updated_at, id) of the last chat of the page before: nothing is counted or skipped over. A
chat that becomes active meanwhile moves to the front, so a pass through all pages may miss it, never show it twice
as it was.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from chat import rendering, rows
from chat.api.problems import Invalid
from chat.api.schemas import ChatList
from chat.capacity import places_in_line
from chat.execution import Status, classify
from chat.models import Chat, QueuedMessage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = struct.Struct(">16sQ")


def list_chats(owner: Any, wanted: ChatList) -> dict[str, Any]:
    """`{"items", "next_cursor"}`. Raises `Invalid` for a cursor that was never issued."""
    chats = Chat.objects.filter(owner_id=owner.pk, archived=wanted.archived)
    if wanted.label:
        chats = chats.filter(labels__contains=[wanted.label])
    if wanted.q:
        chats = chats.filter(title__icontains=wanted.q)
    if wanted.cursor:
        updated_at, chat_id = _decode(wanted.cursor)
        # Written so that the index of a user's chats by activity finds the first row.
        chats = chats.filter(updated_at__lte=updated_at).filter(Q(updated_at__lt=updated_at) | Q(id__lt=chat_id))
    has_queue = Exists(QueuedMessage.objects.filter(chat=OuterRef("pk")))
    page = _newest_first(chats.annotate(has_queue=has_queue), wanted.limit + 1)
    shown = page[: wanted.limit]
    return {
        "items": _rendered(shown),
        "next_cursor": _encode(shown[-1]) if len(page) > wanted.limit else None,
    }


def _newest_first(chats: QuerySet[Any], count: int) -> list[Any]:
    return list(chats.defer("system").order_by("-updated_at", "-id")[:count])


def _rendered(chats: Sequence[Any]) -> list[dict[str, Any]]:
    places = places_in_line(chats)
    items = [
        rendering.chat(chat, classify(chat.status, chat.archived, chat.has_queue), place=places.get(chat.pk))
        for chat in chats
    ]
    waiting = [chat for chat in chats if chat.status == Status.REQUIRES_ACTION]
    stored = rows.stored_of_all([chat.pk for chat in waiting]) if waiting else {}
    for chat, item in zip(chats, items, strict=True):
        if chat.pk in stored:
            tail = enumerate(stored[chat.pk].tail)
            messages = [{"id": place, "role": role, "parts": parts} for place, (role, parts) in tail]
            item["requires_action"]["calls"] = rendering.client_calls(chat, messages)
    return items


def _encode(chat: Chat) -> str:
    microseconds = (chat.updated_at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(_CURSOR.pack(chat.pk.bytes, microseconds)).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        chat_id, microseconds = _CURSOR.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
        return _EPOCH + microseconds * _MICROSECOND, UUID(bytes=chat_id)
    except (binascii.Error, ValueError, struct.error, OverflowError):
        raise Invalid("cursor: it is the `next_cursor` of the page before, or left out.") from None
