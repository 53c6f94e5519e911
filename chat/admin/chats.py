"""Windows on chats, their messages, their queue and their leases; the one button interrupts."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, QuerySet, Subquery, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Left, Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.readonly import Window, pretty, seconds
from chat.errors import ChatRefusal
from chat.execution import RUNNABLE, classify
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.stopping import stop_chat

EXCERPT = 120
"""Characters of a message in a list."""

_AGE: Any = ExpressionWrapper(Now() - F("heartbeat_at"), output_field=DurationField())


@admin.register(Chat)
class ChatAdmin(Window):
    list_display = ("id", "title", "owner", "state", "model", "runs_on", "lease_age", "updated_at")
    list_filter = ("status", "archived", "updated_at")
    list_select_related = ("owner",)
    search_fields = ("id", "title", "owner__username")
    search_help_text = "Chat id (or a part of it), title, or the owner's name"
    ordering = ("-updated_at",)
    actions = ("interrupt_selected",)
    fieldsets = (
        (None, {"fields": ("id", "title", "owner", "parent", "model", "labels_text", "created_at", "updated_at")}),
        ("State", {"fields": ("state", "status", "archived", "error", "retry", "messages_and_queue")}),
        ("Who works on it", {"fields": ("worker_id", "runner_id", "lease_age")}),
        (
            "Versions",
            {"fields": ("snapshot_version", "history_version", "queue_version", "generation_attempt")},
        ),
        ("Conversation", {"fields": ("system", "tools_text", "requires_action_deadline_at", "pin_order")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        lease = RunnerLease.objects.filter(chat=OuterRef("pk"), runner_id=OuterRef("runner_id"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                has_queue=Exists(QueuedMessage.objects.filter(chat=OuterRef("pk"))),
                lease=Subquery(lease.annotate(age=_AGE).values("age")[:1], output_field=DurationField()),
            )
        )

    @admin.display(description="state")
    def state(self, chat: Any) -> str:
        state = classify(chat.status, chat.archived, chat.has_queue)
        words = chat.status.replace("_", " ") + (", archived" if chat.archived else "")
        waits = ", nobody works on it" if state in RUNNABLE and chat.runner_id is None else ""
        return f"{state}: {words}{', with a queue' if chat.has_queue else ''}{waits}"

    @admin.display(description="worker")
    def runs_on(self, chat: Chat) -> str:
        return str(chat.worker_id)[:8] if chat.worker_id else "-"

    @admin.display(description="heartbeat age")
    def lease_age(self, chat: Any) -> str:
        return seconds(chat.lease)

    @admin.display(description="last error")
    def error(self, chat: Chat) -> SafeString | str:
        return pretty(chat.last_error)

    @admin.display(description="retry state")
    def retry(self, chat: Chat) -> SafeString | str:
        return pretty(chat.retry_state)

    @admin.display(description="labels")
    def labels_text(self, chat: Chat) -> str:
        return ", ".join(map(str, chat.labels)) or "-"

    @admin.display(description="client tools")
    def tools_text(self, chat: Chat) -> SafeString | str:
        return pretty(chat.client_tools) if chat.client_tools else "-"

    @admin.display(description="messages")
    def messages_and_queue(self, chat: Chat) -> SafeString:
        where = f"?chat__id__exact={chat.pk}"
        return format_html(
            '<a href="{}">history</a>, <a href="{}">queue</a>',
            reverse("admin:chat_chatmessage_changelist") + where,
            reverse("admin:chat_queuedmessage_changelist") + where,
        )

    def has_interrupt_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.change_chat")

    @admin.action(description="Interrupt selected chats", permissions=["interrupt"])
    def interrupt_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for chat in queryset:
            try:
                stop_chat(chat.pk)
            except ChatRefusal as refusal:
                self.message_user(request, f"{chat}: {refusal.detail}", messages.ERROR)
            else:
                self.message_user(request, f"{chat}: interrupted.", messages.SUCCESS)


class _OfAChat(Window):
    """A window on rows that belong to a chat and hold parts."""

    list_select_related = ("chat",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        first_text = Left(Cast(KT("parts__0__text"), TextField()), EXCERPT)
        return super().get_queryset(request).annotate(first_text=first_text).defer("parts")

    @admin.display(description="begins with")
    def excerpt(self, row: Any) -> str:
        return row.first_text or "-"

    @admin.display(description="parts")
    def parts_text(self, row: Any) -> SafeString | str:
        return pretty(row.parts)


@admin.register(ChatMessage)
class ChatMessageAdmin(_OfAChat):
    list_display = ("id", "chat", "role", "excerpt", "interrupted", "deleted", "revision", "created_at")
    list_filter = ("role", "interrupted", "deleted", "visibility")
    search_fields = ("=id", "chat__id")
    search_help_text = "Message id, or chat id"
    ordering = ("-id",)
    fields = (
        "id", "chat", "role", "parts_text", "visibility", "compressed", "deleted", "interrupted", "revision",
        "content_version", "model", "usage_text", "created_by", "created_at",
    )  # fmt: skip

    @admin.display(description="usage")
    def usage_text(self, message: ChatMessage) -> SafeString | str:
        return pretty(message.usage)


@admin.register(QueuedMessage)
class QueuedMessageAdmin(_OfAChat):
    list_display = ("id", "chat", "position", "excerpt", "created_at")
    search_fields = ("=id", "chat__id")
    ordering = ("-id",)
    fields = ("id", "chat", "position", "parts_text", "model", "created_by", "created_at")


@admin.register(RunnerLease)
class RunnerLeaseAdmin(Window):
    list_display = ("chat", "worker_id", "runner_id", "acquired_at", "heartbeat_at", "age")
    list_select_related = ("chat",)
    search_fields = ("chat__id", "worker_id", "runner_id")
    ordering = ("heartbeat_at",)
    fields = ("chat", "worker_id", "runner_id", "acquired_at", "heartbeat_at", "age", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(heartbeat_age=_AGE)

    @admin.display(description="heartbeat age")
    def age(self, lease: Any) -> str:
        return seconds(lease.heartbeat_age)
