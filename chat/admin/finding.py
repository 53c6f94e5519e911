"""How a chat is found among millions: by its id, its owner, its state, and its title among the newest.

Every search and filter here is one that an index answers, or that looks at a bounded number of rows.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from chat.models import Chat, QueuedMessage
from chat.models.chat import IMPOSSIBLE

NEWEST_TITLES = 20_000
"""Chats, by activity, whose titles a search reads: some 30 ms. No index finds a word in the middle of a title."""
NEWEST_MESSAGES = 100_000
"""Messages that are listed where no chat is chosen."""
MOST_FOUND = 1_000
"""Chats that a search in titles, or for invalid ones, shows."""
_DIGITS = 32
FEWEST_DIGITS = 8
"""Of the beginning of an id: as many as a list shows. Fewer may as well be a year, a word or a name: "2024", "cafe"."""


def ids_beginning_with(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin so; None if no id does. Dashes are optional."""
    digits = text.strip().lower().replace("-", "")
    if not FEWEST_DIGITS <= len(digits) <= _DIGITS or set(digits) - set("0123456789abcdef"):
        return None
    return UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))


def search_chats(chats: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Of the owner who is called `text`; else those whose id begins so; else the newest with `text` in the title."""
    text = text.strip()
    if not text:
        return chats
    people = get_user_model().objects.filter(**{get_user_model().USERNAME_FIELD: text})
    if owner := people.values_list("pk", flat=True).first():
        return chats.filter(owner=owner)
    if ids := ids_beginning_with(text):
        found = chats.filter(pk__range=ids)
        if ids[0] == ids[1] or found.exists():
            return found
    return chats.filter(pk__in=_titled(text))


def _titled(text: str) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM (SELECT id, title FROM chat_chat ORDER BY updated_at DESC LIMIT %s) newest
                WHERE position(lower(%s) IN lower(title)) > 0 LIMIT %s""",
            [NEWEST_TITLES, text.replace("\0", ""), MOST_FOUND],
        )
        return [row[0] for row in cursor.fetchall()]


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("waiting", "idle"),
            ("running", "running"),
            ("unowned", "waiting for a worker"),
            ("interrupting", "interrupting"),
            ("requires_action", "waiting for a client"),
            ("error", "stopped on an error"),
            ("archived", "archived"),
            ("invalid", "invalid"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if wanted == "invalid":
            return invalid(queryset)
        if wanted in _STATES:
            return queryset.filter(_STATES[wanted])
        return queryset


_WITH_WORK = Q(archived=False, status__in=["running", "interrupting"])  # as the partial index says it
_STATES = {
    "waiting": Q(archived=False, status="waiting"),
    "running": _WITH_WORK & Q(status="running"),
    "unowned": Q(waiting_since__isnull=False),
    "interrupting": _WITH_WORK & Q(status="interrupting"),
    "requires_action": Q(archived=False, status="requires_action"),
    "error": Q(archived=False, status="error"),
    "archived": Q(archived=True),
}


def invalid(chats: QuerySet[Any]) -> QuerySet[Any]:
    """What the state machine does not know: a partial index holds the impossible rows, the queue the other ones."""
    idle = Chat.objects.filter(pk=OuterRef("chat"), status="waiting")
    waiting_with_queue = QueuedMessage.objects.filter(Exists(idle)).values("chat")
    impossible = Chat.objects.filter(IMPOSSIBLE).values("pk")
    return chats.filter(pk__in=list({*_ids(impossible, "pk"), *_ids(waiting_with_queue, "chat")}))


def _ids(rows: QuerySet[Any], name: str) -> QuerySet[Any]:
    return rows.values_list(name, flat=True).distinct()[:MOST_FOUND]
