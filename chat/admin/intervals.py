"""How often there is to choose from: intervals, crontabs and the like, each with the tasks that it is of."""

from django.contrib import admin
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule
from unfold.admin import TabularInline

from chat.admin.readonly import Listing

for _model in (IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(_model)


class TasksOfSchedule(beat.PeriodicTaskInline, TabularInline):
    """Whoever changes a schedule sees which tasks it is of."""


class _Schedule(Listing):
    inlines = (TasksOfSchedule,)


@admin.register(IntervalSchedule)
class IntervalAdmin(_Schedule):
    list_display = ("__str__", "every", "period")


@admin.register(CrontabSchedule)
class CrontabAdmin(beat.CrontabScheduleAdmin, _Schedule):
    inlines = (TasksOfSchedule,)


@admin.register(SolarSchedule)
class SolarAdmin(_Schedule):
    pass


@admin.register(ClockedSchedule)
class ClockedAdmin(_Schedule):
    list_display = ("clocked_time",)
