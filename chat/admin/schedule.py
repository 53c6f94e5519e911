"""The beat schedule: what runs how often, when it ran last. An operator pauses, slows down, and runs at once.

Beat reads a change within seconds. A task that is run at once is one more wake-up, to the queue that the schedule says:
harmless to repeat, and without effect on the next regular run.
"""

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django_celery_beat import admin as beat
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from chat.admin.pages import PagedList
from chat.admin.readonly import Listing, age, badge, lasted, unbroken
from chat.models import ScheduleDefault
from chat.task_runs import last_runs

PUBLISH_TIMEOUT = 1.0
"""Seconds: somebody waits for the page."""

admin.site.unregister(PeriodicTask)


class TaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    pass


class TaskForm(beat.PeriodicTaskForm):
    class Meta(beat.PeriodicTaskForm.Meta):
        help_texts: ClassVar = {
            "name": "",
            "enabled": "Off: paused.",
            "description": "",
            "last_run_at": "When beat sent it last.",
            "total_run_count": "How often beat has sent it.",
        }
        widgets: ClassVar = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "regtask" in self.fields:
            self.fields["regtask"].widget = TaskSelect()
            self.fields["task"].widget = UnfoldAdminTextInputWidget()

    def clean(self) -> Any:
        self.cleaned_data.setdefault("task", self.instance.task)  # the form of an entry of Chatd's does not ask for it
        return super().clean()


def _built_in(task: PeriodicTask | None) -> bool:
    """Whether it is Chatd's. It is known by its name: under another one, the next migrate would make it again."""
    return task is not None and ScheduleDefault.objects.filter(name=task.name).exists()


def _known_as(task: PeriodicTask) -> str:
    """By which its last run is known; an entry may be called anything."""
    return str(task.task).removeprefix("chatworker.")


def _seconds(interval: IntervalSchedule | None) -> float:
    return timedelta(**{interval.period: interval.every}).total_seconds() if interval else 0


class TaskList(PagedList):
    """The tasks of a page know of their last runs, all asked for at once."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        tasks: list[Any] = list(self.result_list)
        known = last_runs([_known_as(task) for task in tasks])
        for task in tasks:
            task.known_run = known.get(_known_as(task))
        self.result_list = tasks


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, Listing):
    form = TaskForm
    date_hierarchy = None
    list_display = ("name", "runs", "every", "last_ran", "took", "did", "total_run_count", "description")
    list_filter = ("enabled",)
    actions = ("run_now", "pause", "resume")
    ordering = ("name",)
    change_form_template = None
    change_form_outer_before_template = "admin/chat/task_buttons.html"
    readonly_fields = ("last_run_at", "total_run_count", "crontab_translation")
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("name", "enabled", "description", "last_run_at", "total_run_count")}),
        ("How often: exactly one of these", {"fields": ("interval", "crontab", "crontab_translation")}),
        ("Other schedules", {"fields": ("solar", "clocked", "start_time", "one_off"), "classes": ("collapse",)}),
        ("What is run", {"fields": ("regtask", "task", "args", "kwargs"), "classes": ("collapse",)}),
        (
            "How it is sent",
            {
                "fields": ("queue", "expire_seconds", "expires", "exchange", "routing_key", "priority", "headers"),
                "classes": ("collapse",),
            },
        ),
    )

    # --- what is shown -------------------------------------------------------------------------------------------

    @admin.display(description="state", ordering="enabled")
    def runs(self, task: PeriodicTask) -> SafeString:
        return badge("on", "success") if task.enabled else badge("paused", "warning")

    @admin.display(description="runs")
    def every(self, task: PeriodicTask) -> SafeString | str:
        if task.crontab:
            return str(task.crontab.human_readable)
        seconds = _seconds(task.interval)
        whole = seconds >= 120 and seconds % 60 == 0
        return unbroken(f"every {seconds // 60:.0f} minutes" if whole else str(task.scheduler))

    @admin.display(description="last ran", ordering="last_run_at")
    def last_ran(self, task: PeriodicTask) -> SafeString | str:
        run = task.known_run  # also one that nobody scheduled
        times = [at for at in (task.last_run_at, run and run.at) if at]
        if times:
            return unbroken(f"{age(timezone.now() - max(times))} ago")
        return "never" if task.enabled else "not since it was paused"  # beat forgets the time of a paused task

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PagedList]:
        return TaskList

    @admin.display(description="took")
    def took(self, task: PeriodicTask) -> SafeString | str:
        run = task.known_run
        if run is None or run.took is None:
            return "-" if run is None else "killed" if run.interrupted else "running"
        return unbroken(lasted(run.took))

    @admin.display(description="did")
    def did(self, task: PeriodicTask) -> SafeString | str:
        run = task.known_run
        if run and run.error:
            return badge("failed", "danger", run.error)
        return unbroken(", ".join(f"{name} {number}" for name, number in run.did.items()) or "-") if run else "-"

    @admin.display(description="in words")
    def crontab_translation(self, task: PeriodicTask) -> str:
        return task.crontab.human_readable if task.crontab else "-"

    # --- what may be changed -------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What belongs to Chatd is paused, not deleted: the next migrate would make it again."""
        return not _built_in(obj) and bool(super().has_delete_permission(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = ("name", "regtask", "task") if _built_in(obj) else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not _built_in(obj):
            return self.fieldsets
        shown: dict[Any, Any] = {"What is run": {"fields": ("task", "args", "kwargs"), "classes": ("collapse",)}}
        return [(title, shown.get(title, options)) for title, options in self.fieldsets]

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: Any, change: bool) -> None:
        """Saving a paused task would forget when it ran last."""
        ran_at = obj.last_run_at
        super().save_model(request, obj, form, change)
        PeriodicTask.objects.filter(pk=obj.pk).update(last_run_at=ran_at)

    # --- what is done --------------------------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        press = self.admin_site.admin_view(self.press_view)
        name = "django_celery_beat_periodictask_press"
        return [path("<int:task_id>/press/<slug:action>/", press, name=name), *super().get_urls()]

    def press_view(self, request: HttpRequest, task_id: int, action: str) -> HttpResponse:
        """A button of one task's page: POST only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        if action not in self.actions:
            raise Http404
        task = get_object_or_404(PeriodicTask, pk=task_id)
        getattr(self, action)(request, PeriodicTask.objects.filter(pk=task.pk))
        return redirect("admin:django_celery_beat_periodictask_change", task_id)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        buttons = []
        if object_id is not None and object_id.isdecimal() and self.has_change_permission(request):
            task = PeriodicTask.objects.filter(pk=object_id).first()
            names = ("run_now", "pause" if task and task.enabled else "resume")
            buttons = [{**_BUTTONS[name], "url": reverse(_PRESS, args=[object_id, name])} for name in names]
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "buttons": buttons})

    @admin.action(description="Run now", permissions=["change"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """One wake-up for each, now. A dead broker costs a message on the page, not the page."""
        options = {
            **settings.CELERY_BROKER_TRANSPORT_OPTIONS,
            "socket_timeout": PUBLISH_TIMEOUT,
            "socket_connect_timeout": PUBLISH_TIMEOUT,
            "connect_retries_timeout": PUBLISH_TIMEOUT,
        }
        sent = []
        with self.celery_app.connection_for_write(transport_options=options) as connection:
            try:
                for task in queryset:
                    self._send(task, connection)
                    sent.append(task.name)
            except Exception as error:  # whatever the broker does, the page answers
                messages.error(request, f"Redis did not take it: {error}.")
        if sent:
            self.log_all(request, queryset.filter(name__in=sent), "Run now.")
            messages.success(request, f"Sent to run now: {', '.join(sent)}.")

    def _send(self, task: PeriodicTask, connection: Any) -> None:
        self.celery_app.send_task(
            task.task,
            args=beat.loads(task.args or "[]"),
            kwargs=beat.loads(task.kwargs or "{}"),
            queue=task.queue or None,
            headers={"periodic_task_name": task.name},
            connection=connection,
            retry=False,
        )

    @admin.action(description="Pause", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._enable(request, queryset, enabled=False, done="Paused")

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._enable(request, queryset, enabled=True, done="Running again")

    def _enable(self, request: HttpRequest, queryset: QuerySet[Any], *, enabled: bool, done: str) -> None:
        changed = list(queryset.filter(enabled=not enabled))
        PeriodicTask.objects.filter(pk__in=[task.pk for task in changed]).update(enabled=enabled)
        PeriodicTasks.update_changed()  # beat is told
        self.log_all(request, changed, f"{done}.")
        named = ", ".join(task.name for task in changed)
        messages.success(request, f"{done}: {named}." if named else "Nothing to do.")

    def log_all(self, request: HttpRequest, tasks: Any, what: str) -> None:
        for task in tasks:
            self.log_change(request, task, what)


_BUTTONS = {
    "run_now": {"label": "Run now", "icon": "play_arrow"},
    "pause": {"label": "Pause", "icon": "pause"},
    "resume": {"label": "Resume", "icon": "resume"},
}
_PRESS = "admin:django_celery_beat_periodictask_press"
