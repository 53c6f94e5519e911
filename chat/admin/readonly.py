"""A window: its rows can be looked at, never added, changed or deleted, not even by a superuser."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString


class Window(admin.ModelAdmin):
    show_full_result_count = False
    list_per_page = 50

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


def seconds(age: Any) -> str:
    """A `timedelta` as "4 s"; "-" for none."""
    return "-" if age is None else f"{age.total_seconds():.0f} s"
