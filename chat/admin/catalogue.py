"""Providers and models can be changed here. A provider's key goes in and never comes out again, for nobody.

Nor does it go anywhere else: whoever sends a provider's requests to another place brings the key for it.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminURLInputWidget, UnfoldBooleanSwitchWidget

from chat.admin.readonly import Listing
from chat.catalogue import register_model
from chat.models import ChatModel, ModelProvider

KEY_STAYS_BEHIND = (
    "The stored key was given for the old kind and base URL, and is not sent anywhere else: enter the key for the new "
    "ones, or remove the stored one."
)


class ProviderForm(forms.ModelForm):
    base_url = forms.URLField(
        label="Base URL",
        required=False,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget,
        help_text="Empty: the provider's own.",
    )
    api_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Kept encrypted, never shown. Empty: the stored key stays. Another kind or base URL needs it anew.",
    )
    remove_key = forms.BooleanField(required=False, label="Remove the stored key", widget=UnfoldBooleanSwitchWidget)

    class Meta:
        model = ModelProvider
        fields = ("name", "kind", "base_url", "enabled")

    def clean(self) -> dict[str, Any]:
        """A stored key goes only where it was meant to go: who knows it may send it elsewhere."""
        data = super().clean() or self.cleaned_data
        moved = [name for name in ("kind", "base_url") if name in data and data[name] != getattr(self.instance, name)]
        if moved and self.instance.encrypted_key and not (data.get("api_key") or data.get("remove_key")):
            self.add_error("api_key", KEY_STAYS_BEHIND)
        return data

    def save(self, commit: bool = True) -> Any:
        if self.cleaned_data["remove_key"]:
            self.instance.api_key = ""
        elif self.cleaned_data["api_key"]:
            self.instance.api_key = self.cleaned_data["api_key"]
        return super().save(commit)


@admin.register(ModelProvider)
class ModelProviderAdmin(Listing):
    form = ProviderForm
    readonly_fields = ("has_key",)
    list_display = ("name", "kind", "base_url", "has_key", "enabled")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    ordering = ("name",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The key's fields only for who may fill them in: to others Django shows a field's value."""
        shown = [*ProviderForm.Meta.fields]
        if obj is None:
            return [*shown, "api_key"] if self.has_add_permission(request) else shown
        return (
            [*shown, "has_key", "api_key", "remove_key"]
            if self.has_change_permission(request, obj)
            else [*shown, "has_key"]
        )

    @admin.display(description="has a key", boolean=True)
    def has_key(self, provider: ModelProvider) -> bool:
        return bool(provider.encrypted_key)


@admin.register(ChatModel)
class ChatModelAdmin(Listing):
    list_display = ("full_name", "context_limit", "input_price", "output_price", "is_default", "enabled")
    list_filter = ("enabled", "provider")
    list_select_related = ("provider",)
    search_fields = ("name", "provider__name")
    ordering = ("provider__name", "name")
    fields = ("provider", "name", "context_limit", "input_price", "output_price", "options", "enabled", "is_default")
    readonly_fields = ("is_default",)
    actions = ("make_default",)

    @admin.action(description="Make the selected model the default", permissions=["change"])
    def make_default(self, request: HttpRequest, queryset: QuerySet[ChatModel]) -> None:
        chosen = list(queryset.select_related("provider")[:2])
        if len(chosen) != 1:
            self.message_user(request, "Select exactly one model: only one is the default.", messages.ERROR)
            return
        register_model(chosen[0].full_name, default=True)
        self.message_user(request, f"New chats use {chosen[0].full_name}.", messages.SUCCESS)
