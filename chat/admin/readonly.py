"""A window: its rows can be looked at, never added, changed or deleted, not even by a superuser."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from chat.admin.pages import FewPages, PagedList


class Listing(ModelAdmin):
    """A list that costs the same however many rows there are: few pages, no totals, no sorting without an index."""

    paginator = FewPages
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    list_disable_select_all = True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PagedList]:
        return PagedList


class Window(Listing):
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def pretty(value: Any) -> SafeString | str:
    """A JSON value for people; "-" for none."""
    if value is None:
        return "-"
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)


def badge(text: str, color: str, hint: str = "") -> SafeString:
    """`color`: "info", "danger", "warning", "success", "primary", or "" for grey; `hint` is seen under the mouse."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": color, "label_title": hint})


def unbroken(text: str, most: int = 40) -> SafeString:
    """In a list's cell on one line; of a longer text the beginning, and all of it under the mouse."""
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return format_html('<span style="white-space: nowrap" title="{}">{}</span>', text, shown)


def link(page: str, key: Any, text: str) -> SafeString:
    """`page`: as in "chat_chat"; to the row whose primary key is `key`."""
    where = reverse(f"admin:{page}_change", args=[key])
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', where, text)


def list_link(page: str, query: str, text: str) -> SafeString:
    """To the list of `page`, filtered by `query`."""
    where = f"{reverse(f'admin:{page}_changelist')}?{query}"
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', where, text)


def lasted(seconds: float) -> str:
    """How long a run took: "2 ms", "1.4 s"."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def age(since: Any) -> str:
    """A `timedelta` as "4 s", "3 min", "5 h", "2 d"; "-" for none."""
    if since is None:
        return "-"
    seconds = max(0.0, since.total_seconds())
    for unit, lasts in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * lasts:
            return f"{seconds / lasts:.0f} {unit}"
    return f"{seconds:.0f} s"
