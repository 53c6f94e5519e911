"""How long chats are kept, and how the last runs of the long tasks went."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.formats import localize
from django.utils.safestring import SafeString

from chat.admin.readonly import Listing, Window, age, badge, lasted, pretty
from chat.models import RetentionPolicy, TaskRun
from chat.retention.policy import current_policy
from chat.task_runs import is_under_way

ONLY = 1
"""The primary key of the one policy."""


@admin.register(RetentionPolicy)
class RetentionPolicyAdmin(Listing):
    """There is one: its list is its page."""

    fields = ("auto_archive_days", "retention_days", "archive_digest", "in_effect", "saved")
    readonly_fields = ("in_effect", "saved")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return redirect("admin:chat_retentionpolicy_change", ONLY)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Until somebody saves it there is no row: nothing is overridden, and to look changes nothing."""
        found = super().get_object(request, object_id, from_field)
        return RetentionPolicy(pk=ONLY) if found is None and object_id == str(ONLY) else found

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "archive_digest":
            field.widget.choices = [("unknown", "as the setting says"), ("true", "yes"), ("false", "no")]
        return field

    @admin.display(description="saved")
    def saved(self, policy: RetentionPolicy) -> str:
        return localize(timezone.localtime(policy.updated_at)) if not policy._state.adding else "never"

    @admin.display(description="in effect")
    def in_effect(self, _: RetentionPolicy) -> str:
        policy = current_policy()
        deleted = f"deleted {policy.retention_days} days later" if policy.retention_days else "never deleted"
        digest = "their owners are told" if policy.archive_digest else "nobody is told"
        days = policy.auto_archive_days
        archived = f"archived after {days} days ({digest})" if days else "never archived"
        return f"Chats without activity are {archived}, archived ones {deleted}."


@admin.register(TaskRun)
class TaskRunAdmin(Window):
    list_display = ("task", "last_run", "began", "took", "what_it_did", "runs")
    fields = ("task", "last_run", "started_at", "finished_at", "took", "did_", "totals_", "runs", "error")
    readonly_fields = ("last_run", "took", "did_", "totals_")
    ordering = ("task",)

    @admin.display(description="last run")
    def last_run(self, run: TaskRun) -> SafeString:
        if run.outcome == TaskRun.Outcome.FAILED:
            return badge("failed", "danger", run.error)
        if run.outcome == TaskRun.Outcome.DONE:
            return badge("done", "success")
        return badge("running", "info") if is_under_way(run.task) else badge("killed", "warning", "The next goes on.")

    @admin.display(description="began")
    def began(self, run: TaskRun) -> str:
        return f"{age(timezone.now() - run.started_at)} ago"

    @admin.display(description="took")
    def took(self, run: TaskRun) -> str:
        return lasted((run.finished_at - run.started_at).total_seconds()) if run.finished_at else "-"

    @admin.display(description="did")
    def what_it_did(self, run: TaskRun) -> str:
        return ", ".join(f"{name} {number}" for name, number in run.did.items()) or "-"

    @admin.display(description="did")
    def did_(self, run: TaskRun) -> SafeString | str:
        return pretty(run.did)

    @admin.display(description="all runs together")
    def totals_(self, run: TaskRun) -> SafeString | str:
        return pretty(run.totals)
