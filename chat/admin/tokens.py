"""API tokens: issued and deleted here, never changed. A token is readable once, in the message after it was made."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from chat.admin.readonly import Listing
from chat.models import ApiToken


@admin.register(ApiToken)
class ApiTokenAdmin(Listing):
    list_display = ("begins_with", "name", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__username", "hint")
    ordering = ("-id",)
    sortable_by = ()
    fields = ("user", "name")
    autocomplete_fields = ("user",)

    @admin.display(description="begins with")
    def begins_with(self, token: ApiToken) -> str:
        return f"{token.hint}…"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: str) -> HttpResponse:
        super().response_delete(request, obj_display, obj_id)  # says that it was done
        return redirect("admin:chat_apitoken_changelist")

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        row, token = ApiToken.issue(obj.user, obj.name)
        obj.pk, obj.hint, obj.digest = row.pk, row.hint, row.digest
        self.message_user(request, f"The token, shown this once: {token}", messages.WARNING)
