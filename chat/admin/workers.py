"""Windows on who runs chats: worker processes, and the leases that they hold."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import BooleanField, Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.safestring import SafeString

from chat.admin.chats import HEARTBEAT_AGE, fresh_or_not
from chat.admin.finding import ids_beginning_with
from chat.admin.readonly import Window, badge, link, list_link
from chat.models import RunnerLease, WorkerProcess
from chat.presence import LOCK_IS_HELD


@admin.register(WorkerProcess)
class WorkerProcessAdmin(Window):
    list_display = ("worker_id", "health", "host", "pid", "running", "slots", "oldest_heartbeat", "started_at")
    search_fields = ("host",)
    search_help_text = "A host's name"
    ordering = ("started_at",)
    fields = (
        "worker_id", "health", "host", "pid", "running", "slots", "oldest_heartbeat", "leases", "started_at",
        "draining_since",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        held = RunnerLease.objects.filter(worker_id=OuterRef("worker_id")).order_by().values("worker_id")
        return (
            super()
            .get_queryset(request)
            .annotate(
                alive=RawSQL(LOCK_IS_HELD.format(worker_id="chat_workerprocess.worker_id"), [], BooleanField()),
                chats=Coalesce(Subquery(held.annotate(chats=Count("pk")).values("chats")), 0),
                heartbeat=Subquery(held.annotate(oldest=Max(HEARTBEAT_AGE)).values("oldest")),
            )
        )

    @admin.display(description="state")
    def health(self, worker: Any) -> SafeString:
        if not worker.alive:
            return badge(
                "dead", "danger", "Nobody holds its lock. Its chats go to others, its row goes at the next tick."
            )
        if worker.draining_since:
            return badge("draining", "warning", "Told to stop: takes no more chats.")
        return badge("alive", "success", "Its process holds its lock.")

    @admin.display(description="running chats")
    def running(self, worker: Any) -> int:
        return worker.chats

    @admin.display(description="oldest heartbeat")
    def oldest_heartbeat(self, worker: Any) -> SafeString | str:
        return "-" if worker.heartbeat is None else fresh_or_not(worker.heartbeat)

    @admin.display(description="leases")
    def leases(self, worker: Any) -> SafeString:
        return list_link("chat_runnerlease", f"worker_id__exact={worker.pk}", f"{worker.chats} held")


class FreshnessFilter(admin.SimpleListFilter):
    title = "heartbeat"
    parameter_name = "heartbeat"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("fresh", "fresh"), ("expired", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        expired = Q(heartbeat_age__gt=timedelta(seconds=settings.CHATD_LEASE_TTL))
        wanted = {"fresh": ~expired, "expired": expired}.get(self.value() or "")
        return queryset.filter(wanted) if wanted else queryset


@admin.register(RunnerLease)
class RunnerLeaseAdmin(Window):
    list_display = ("chat_link", "worker_link", "runner_id", "acquired_at", "heartbeat_at", "age")
    list_display_links = ("runner_id",)
    list_filter = (FreshnessFilter,)
    list_select_related = ("chat",)
    search_fields = ("chat__id",)  # what is searched: get_search_results
    search_help_text = "Id of a chat, worker or runner (8 digits)"
    ordering = ("heartbeat_at",)
    fields = ("chat_link", "worker_link", "runner_id", "acquired_at", "heartbeat_at", "age", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(heartbeat_age=HEARTBEAT_AGE)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        ids = ids_beginning_with(search_term)
        if ids is None:
            return queryset.none(), False
        return queryset.filter(Q(chat__id__range=ids) | Q(worker_id__range=ids) | Q(runner_id__range=ids)), False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup == "worker_id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description="chat")
    def chat_link(self, lease: RunnerLease) -> SafeString:
        return link("chat_chat", lease.chat_id, lease.chat.title or str(lease.chat_id))

    @admin.display(description="worker")
    def worker_link(self, lease: RunnerLease) -> SafeString:
        return link("chat_workerprocess", lease.worker_id, str(lease.worker_id)[:8])

    @admin.display(description="heartbeat age")
    def age(self, lease: Any) -> SafeString:
        return fresh_or_not(lease.heartbeat_age)
