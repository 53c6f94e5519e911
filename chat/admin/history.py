"""Windows on what was said, and on what still waits to be said.

Millions of messages: without a chat only the newest are listed, by their ids, so that any filter looks at a bounded
number of rows.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Left
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chat.admin.finding import NEWEST_MESSAGES, ids_beginning_with
from chat.admin.readonly import Window, badge, link, list_link, pretty
from chat.models import ChatMessage, QueuedMessage

EXCERPT = 120
"""Characters of a message in a list."""
ROLES = {"user": "primary", "assistant": "success", "tool": "info", "system": "warning"}
OF_CHAT = "chat__id__exact"


def _text(parts: list[Any]) -> str:
    """What people read of a message; of a row that an older release or raw SQL has written, what can be read."""
    texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text")
    return "\n\n".join(map(str, texts))


class _OfAChat(Window):
    """A window on rows that belong to a chat and hold parts."""

    list_select_related = ("chat",)
    search_fields = ("id",)  # what is searched: get_search_results
    search_help_text = "Number, or beginning of a chat's id (8 digits)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        text, tool = (Cast(KT(f"parts__0__{name}"), TextField()) for name in ("text", "tool_name"))
        first_text = Coalesce(Left(text, EXCERPT), Left(tool, EXCERPT))
        return super().get_queryset(request).annotate(first_text=first_text)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        if text.isdecimal() and len(text) < 19:
            return queryset.filter(pk=int(text)), False
        ids = ids_beginning_with(text)
        return (queryset.filter(chat__id__range=ids) if ids else queryset.none()), False

    @admin.display(description="begins with")
    def excerpt(self, row: Any) -> str:
        return row.first_text or "-"

    @admin.display(description="parts")
    def parts_text(self, row: Any) -> SafeString | str:
        return pretty(row.parts)

    @admin.display(description="says")
    def says(self, row: Any) -> SafeString:
        return format_html('<div style="white-space: pre-wrap">{}</div>', _text(row.parts) or "-")

    @admin.display(description="chat")
    def chat_link(self, row: Any) -> SafeString:
        return link("chat_chat", row.chat_id, row.chat.title or "untitled")

    @admin.display(description="all of this chat")
    def siblings(self, row: Any) -> SafeString:
        return list_link(f"chat_{self.opts.model_name}", f"{OF_CHAT}={row.chat_id}", "list")


@admin.register(ChatMessage)
class ChatMessageAdmin(_OfAChat):
    list_display = ("id", "chat_link", "said_by", "excerpt", "marks", "revision", "created_at")
    list_filter = ("role", "interrupted", "deleted", "visibility")
    ordering = ("-id",)
    fields = (
        "id", "chat_link", "siblings", "said_by", "marks", "says", "parts_text", "visibility", "revision",
        "content_version", "model", "usage_text", "created_by", "created_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        on_list = (
            request.resolver_match is not None and request.resolver_match.url_name == "chat_chatmessage_changelist"
        )
        if not on_list:
            return rows
        rows = rows.defer("parts")
        if OF_CHAT in request.GET or request.GET.get("q", "").strip():
            return rows
        newest = ChatMessage.objects.order_by("-id").values_list("id", flat=True).first() or 0
        return rows.filter(id__gt=newest - NEWEST_MESSAGES)

    @admin.display(description="role")
    def said_by(self, message: ChatMessage) -> SafeString:
        return badge(message.role, ROLES.get(message.role, ""))

    @admin.display(description="marks")
    def marks(self, message: ChatMessage) -> SafeString | str:
        """What is out of the ordinary."""
        marks = {"interrupted": "warning", "deleted": "danger", "compressed": "info"}
        shown = [(badge(name, color),) for name, color in marks.items() if getattr(message, name)]
        return format_html_join(" ", "{}", shown) or "-"

    @admin.display(description="usage")
    def usage_text(self, message: ChatMessage) -> SafeString | str:
        return pretty(message.usage)


@admin.register(QueuedMessage)
class QueuedMessageAdmin(_OfAChat):
    list_display = ("id", "chat_link", "position", "steers", "excerpt", "created_at")
    ordering = ("-id",)
    fields = (
        "id", "chat_link", "siblings", "position", "steers", "says", "parts_text", "model", "created_by",
        "created_at",
    )  # fmt: skip

    @admin.display(description="steering")
    def steers(self, message: QueuedMessage) -> SafeString | str:
        return badge("into the running turn", "info") if message.steering else "-"
