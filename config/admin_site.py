"""The admin's frame: its name, and its menu, which shows each user what they may look at.

What the pages hold is in `chat/admin/`. A page that is new there gets its line here.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))


def _page(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{model}_changelist"),
        "permission": _may_view(f"{app}.view_{model}"),
    }


_MENU = [
    {
        "items": [{"title": "Start page", "icon": "monitoring", "link": reverse_lazy("admin:index")}],
    },
    {
        "title": "Chats",
        "items": [
            _page("Chats", "forum", "chat", "chat"),
            _page("Messages", "chat_bubble", "chat", "chatmessage"),
            _page("Queue", "playlist_play", "chat", "queuedmessage"),
        ],
    },
    {
        "title": "Work",
        "items": [
            _page("Worker processes", "memory", "chat", "workerprocess"),
            _page("Leases", "key", "chat", "runnerlease"),
            _page("Periodic tasks", "schedule", "django_celery_beat", "periodictask"),
            _page("Intervals", "timelapse", "django_celery_beat", "intervalschedule"),
            _page("Crontabs", "calendar_month", "django_celery_beat", "crontabschedule"),
            _page("Retention", "auto_delete", "chat", "retentionpolicy"),
            _page("Last runs", "history", "chat", "taskrun"),
        ],
    },
    {
        "title": "Models",
        "items": [
            _page("Providers", "cloud", "chat", "modelprovider"),
            _page("Models", "psychology", "chat", "chatmodel"),
        ],
    },
    {
        "title": "People",
        "items": [
            _page("Users", "person", "auth", "user"),
            _page("Groups", "group", "auth", "group"),
            _page("API tokens", "vpn_key", "chat", "apitoken"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Chatd",
    "SITE_HEADER": "Chatd",
    "SITE_SUBHEADER": "chats that survive",
    "SITE_SYMBOL": "forum",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("chat/icon.svg")}],
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "chat.admin.start_page.fill",
    "SIDEBAR": {"navigation": _MENU},
}
