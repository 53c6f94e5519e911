"""The pages of the admin: of every registered model its list, a late page, its forms and a row; searches and filters.

And those of chats once more after an archiving, which makes the archived ones the newest.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse

from chat.models import Chat, ChatMessage

CHATS, MESSAGES = "/admin/chat/chat/", "/admin/chat/chatmessage/"
LAST_PAGE = 40


class PageFailed(Exception):
    """A page did not do what it should."""


def pages(user: Any) -> dict[str, str]:
    """Name → address of what `user` may open."""
    request = RequestFactory().get("/")
    request.user = user
    found = {"start page": reverse("admin:index")}
    for kind in admin.site._registry:
        found |= dict(_of(kind, request))
    return found | _asked_for()


def after_archiving() -> dict[str, str]:
    return {f"{name}, after an archiving": address for name, address in _by_state().items()}


def _of(kind: Any, request: Any) -> Iterator[tuple[str, str]]:
    name, names = f"admin:{kind._meta.app_label}_{kind._meta.model_name}", kind._meta.verbose_name_plural
    yield f"{names}", reverse(f"{name}_changelist")
    if kind in (Chat, ChatMessage):
        yield f"{names}, page {LAST_PAGE}", f"{reverse(f'{name}_changelist')}?p={LAST_PAGE}"
    window = admin.site._registry[kind]
    if window.has_add_permission(request):
        yield f"{names}, add one", reverse(f"{name}_add")
    row = kind._default_manager.order_by("pk").first()
    if row is not None:
        yield f"{names}, one", reverse(f"{name}_change", args=[row.pk])
        yield f"{names}, history of one", reverse(f"{name}_history", args=[row.pk])
        if window.has_delete_permission(request, row):
            yield f"{names}, delete one", reverse(f"{name}_delete", args=[row.pk])


def _asked_for() -> dict[str, str]:
    chat = Chat.objects.latest("updated_at")
    message = ChatMessage.objects.latest("id")
    return {
        **_by_state(),
        f"chats, archived, page {LAST_PAGE}": f"{CHATS}?is=archived&p={LAST_PAGE}",
        "chats, sorted by a column": f"{CHATS}?o=6",
        "chats, by id": f"{CHATS}?q={chat.pk}",
        "chats, by the beginning of an id": f"{CHATS}?q={str(chat.pk)[:8]}",
        "chats, by owner": f"{CHATS}?q={chat.owner.get_username()}",
        "chats, by title": f"{CHATS}?q={chat.title.split(' ')[0]}",
        "chats, nothing found": f"{CHATS}?q=zzzzqqq",
        "messages, of a chat": f"{MESSAGES}?chat__id__exact={chat.pk}",
        "messages, by id": f"{MESSAGES}?q={message.pk}",
        "messages, of the system": f"{MESSAGES}?role__exact=system",
        "messages, hidden": f"{MESSAGES}?deleted__exact=1",
        "messages, cut short": f"{MESSAGES}?interrupted__exact=1",
    }


def _by_state() -> dict[str, str]:
    states = ("waiting", "running", "unowned", "interrupting", "requires_action", "error", "archived", "invalid")
    return {f"chats, {state}": f"{CHATS}?is={state}" for state in states}
