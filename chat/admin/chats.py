"""The window on chats. Its buttons are transitions, for one chat on its page, for many on the list."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.buttons import BUTTONS, WORKED_ON, Button, why_not
from chat.admin.finding import StateFilter, search_chats
from chat.admin.pressing import MOST_AT_ONCE, may_press, press_and_tell
from chat.admin.readonly import Window, age, badge, link, list_link, pretty, unbroken
from chat.errors import ChatNotFound
from chat.execution import RUNNABLE, State, classify
from chat.explain.meaning import MEANING
from chat.explain.reading import read_situation
from chat.explain.story import tell
from chat.models import Chat, QueuedMessage, RunnerLease

COLORS = {
    "waiting": "success",
    "running": "info",
    "interrupting": "warning",
    "requires_action": "primary",
    "error": "danger",
}
HEARTBEAT_AGE: Any = ExpressionWrapper(Now() - F("heartbeat_at"), output_field=DurationField())


@admin.register(Chat)
class ChatAdmin(Window):
    list_display = ("short_id", "title_text", "owner_name", "state", "model", "runs_on", "lease_age", "active_at")
    list_display_links = ("short_id", "title_text")
    list_filter = (StateFilter,)
    list_select_related = ("owner",)
    search_fields = ("id",)  # what is searched: get_search_results
    search_help_text = "Owner, beginning of an id (8 digits), title"
    ordering = ("-updated_at",)
    list_disable_select_all = False  # of a list that is not too long: admin/chat/chat/actions.html
    most_at_once = MOST_AT_ONCE
    change_form_outer_before_template = "admin/chat/chat/above.html"
    fieldsets = (
        (None, {"fields": ("id", "title", "owner_link", "state", "messages_and_queue", "family")}),
        ("Settings", {"fields": ("model", "labels_text", "pinned", "system", "tools_text")}),
        ("Who works on it", {"fields": ("worker_link", "runner_id", "lease_age", "waiting_since")}),
        ("What went wrong", {"fields": ("error", "retry")}),
        (
            "Versions and times",
            {
                "fields": (
                    ("snapshot_version", "history_version", "queue_version"),
                    ("generation_attempt", "retry_state_version"),
                    ("requires_action_deadline_at", "compaction_requested_at"),
                    ("created_at", "updated_at"),
                )
            },
        ),
    )

    # --- which chats ---------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        lease = RunnerLease.objects.filter(chat=OuterRef("pk"), runner_id=OuterRef("runner_id"))
        lease_age = lease.annotate(age=HEARTBEAT_AGE).values("age")[:1]
        return (
            super()
            .get_queryset(request)
            .annotate(
                has_queue=Exists(QueuedMessage.objects.filter(chat=OuterRef("pk"))),
                lease=Subquery(lease_age, output_field=DurationField()),
            )
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_chats(queryset, search_term), False

    # --- what is shown of one ------------------------------------------------------------------------------------

    @admin.display(description="id")
    def short_id(self, chat: Chat) -> str:
        return str(chat.pk)[:8]

    @admin.display(description="title")
    def title_text(self, chat: Chat) -> str:
        return chat.title if len(chat.title) <= 60 else f"{chat.title[:59]}…"

    @admin.display(description="owner")
    def owner_name(self, chat: Chat) -> SafeString:
        return unbroken(chat.owner.get_username(), 24)

    @admin.display(description="owner")
    def owner_link(self, chat: Chat) -> SafeString:
        return link("auth_user", chat.owner_id, chat.owner.get_username())

    @admin.display(description="state")
    def state(self, chat: Any) -> SafeString:
        state = classify(chat.status, chat.archived, chat.has_queue)
        words = chat.status.replace("_", " ") + (", archived" if chat.archived else "")
        waits = ", nobody works on it" if state in RUNNABLE and chat.runner_id is None else ""
        color = "danger" if state is State.INVALID else "" if chat.archived else COLORS.get(chat.status, "danger")
        return badge(f"{state}: {words}{', with a queue' if chat.has_queue else ''}{waits}", color, MEANING[state])

    @admin.display(description="worker")
    def runs_on(self, chat: Chat) -> str:
        return str(chat.worker_id)[:8] if chat.worker_id else "-"

    @admin.display(description="worker")
    def worker_link(self, chat: Chat) -> SafeString | str:
        return link("chat_workerprocess", chat.worker_id, str(chat.worker_id)) if chat.worker_id else "nobody"

    @admin.display(description="heartbeat age")
    def lease_age(self, chat: Any) -> SafeString | str:
        if chat.lease is None:
            return badge("no lease", "danger") if chat.runner_id else "-"
        return fresh_or_not(chat.lease)

    @admin.display(description="last error")
    def error(self, chat: Chat) -> SafeString | str:
        return pretty(chat.last_error)

    @admin.display(description="retry state")
    def retry(self, chat: Chat) -> SafeString | str:
        return pretty(chat.retry_state)

    @admin.display(description="last activity")
    def active_at(self, chat: Chat) -> SafeString:
        return unbroken(localize(timezone.localtime(chat.updated_at)))

    @admin.display(description="labels")
    def labels_text(self, chat: Chat) -> str:
        return ", ".join(map(str, chat.labels)) or "-"

    @admin.display(description="pinned")
    def pinned(self, chat: Chat) -> str:
        return "yes" if chat.pin_order > 0 else "no"

    @admin.display(description="client tools")
    def tools_text(self, chat: Chat) -> SafeString | str:
        return pretty(chat.client_tools) if chat.client_tools else "-"

    @admin.display(description="what was said")
    def messages_and_queue(self, chat: Chat) -> SafeString:
        of_chat = f"chat__id__exact={chat.pk}"
        history = list_link("chat_chatmessage", of_chat, "messages")
        return format_html("{}, {}", history, list_link("chat_queuedmessage", of_chat, "queue"))

    @admin.display(description="family")
    def family(self, chat: Chat) -> SafeString | str:
        if chat.parent_id is None:
            return "-"
        parent = link("chat_chat", chat.parent_id, f"started by {chat.parent_id}")
        return format_html("{}, {}", parent, link("chat_chat", chat.root_id, "root"))

    # --- buttons -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        press = self.admin_site.admin_view(self.press_view)
        return [path("<uuid:chat_id>/press/<slug:name>/", press, name="chat_chat_press"), *super().get_urls()]

    def press_view(self, request: HttpRequest, chat_id: Any, name: str) -> HttpResponse:
        """A button of one chat's page: POST only, so that no link and no image can press it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not may_press(request):
            raise PermissionDenied
        if name not in BUTTONS:
            raise Http404
        press_and_tell(request, BUTTONS[name], [chat_id])
        return redirect(_with_filters(reverse("admin:chat_chat_change", args=[chat_id]), request))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The same buttons for many chats, for those who may press them."""
        if IS_POPUP_VAR in request.GET or not may_press(request):
            return {}
        return {button.name: (_for_many(button), button.name, button.label) for button in BUTTONS.values()}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), **self._above(request, object_id)}
        )

    def _above(self, request: HttpRequest, object_id: str | None) -> dict[str, Any]:
        """What stands above the fields: the chat in words, and the buttons."""
        if object_id is None or not self.has_view_permission(request):
            return {}
        try:
            situation = read_situation(Chat._meta.pk.to_python(object_id))
        except (ChatNotFound, ValidationError):
            return {}  # the page says so itself
        owned = situation.owner is not None and situation.owner.lease_is_fresh
        buttons = [
            {
                "label": button.label,
                "icon": button.icon,
                "url": _with_filters(reverse("admin:chat_chat_press", args=[situation.chat_id, button.name]), request),
                "fits": situation.state in button.states and not (owned and button.name == "wake"),
                "why_not": WORKED_ON if owned and button.name == "wake" else why_not(button, situation.state),
            }
            for button in BUTTONS.values()
        ]
        return {"in_words": list(tell(situation)), "buttons": buttons if may_press(request) else []}


def _with_filters(url: str, request: HttpRequest) -> str:
    """The list that somebody came from is the one that they go back to, filters and all."""
    filters = request.GET.get("_changelist_filters")
    return f"{url}?{urlencode({'_changelist_filters': filters})}" if filters else url


def fresh_or_not(heartbeat_age: Any) -> SafeString:
    """The age of a lease's heartbeat, in the color of its health."""
    expired = heartbeat_age.total_seconds() > settings.CHATD_LEASE_TTL
    return badge(age(heartbeat_age), "danger" if expired else "success", "expired" if expired else "fresh")


def _for_many(button: Button) -> Callable[[Any, HttpRequest, QuerySet[Any]], None]:
    def act(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        chosen = list(queryset.values_list("pk", flat=True)[: model_admin.most_at_once + 1])
        if len(chosen) > model_admin.most_at_once:
            messages.error(request, f"At most {model_admin.most_at_once} chats at once. Nothing was done.")
            return
        press_and_tell(request, button, chosen)

    act.__name__ = button.name
    return act
