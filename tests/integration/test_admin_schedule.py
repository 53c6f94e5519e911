"""The beat schedule in the admin: pause, resume, slow down, run at once."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from chat import hints
from chat.admin.schedule import PeriodicTaskAdmin
from chat.task_runs import note_key, noted_tick

pytestmark = pytest.mark.django_db
LIST = "/admin/django_celery_beat/periodictask/"


@pytest.fixture
def task() -> PeriodicTask:
    """It ran once, a while ago."""
    task = PeriodicTask.objects.get(name="reap_stale_leases")
    hints.redis_client().delete(note_key(task.name))
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at="2026-01-02T03:04:05Z", total_run_count=7)
    task.refresh_from_db()
    return task


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What went to Celery: (task, queue); the broker is not asked."""
    told: list[tuple[str, Any]] = []
    app = PeriodicTaskAdmin.celery_app._get_current_object()
    monkeypatch.setattr(app, "send_task", lambda name, queue, **_: told.append((name, queue)))
    return told


def press(client: Client, task: PeriodicTask, name: str) -> Any:
    where = reverse("admin:django_celery_beat_periodictask_press", args=[task.pk, name])
    return client.post(where, follow=True)


def test_a_paused_task_still_says_when_it_ran_last_and_beat_is_told(superuser: Client, task: PeriodicTask) -> None:
    told_at = PeriodicTasks.last_change()
    assert "Paused: reap_stale_leases." in press(superuser, task, "pause").content.decode()
    task.refresh_from_db()
    assert (task.enabled, task.last_run_at.year, task.total_run_count) == (False, 2026, 7)
    assert PeriodicTasks.last_change() != told_at
    assert "Running again: reap_stale_leases." in press(superuser, task, "resume").content.decode()
    task.refresh_from_db()
    assert task.enabled


def test_of_a_paused_task_whose_last_run_beat_forgot_the_list_does_not_say_never(
    superuser: Client, task: PeriodicTask
) -> None:
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False, last_run_at=None)
    assert "not since it was paused" in superuser.get(LIST).content.decode()


def test_how_often_a_task_runs_is_said_in_words(superuser: Client, task: PeriodicTask) -> None:
    nightly = CrontabSchedule.objects.create(minute="0", hour="4", timezone="UTC")
    PeriodicTask.objects.create(name="nightly", task=task.task, crontab=nightly)
    page = superuser.get(LIST).content.decode()
    for words in ("every second", "every 10 seconds", "every 10 minutes", "At 04:00 AM UTC"):
        assert words in page


def test_a_task_is_slowed_down_by_another_interval(superuser: Client, task: PeriodicTask) -> None:
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    slower = IntervalSchedule.objects.create(every=10, period="minutes")
    page = superuser.get(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]))
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    values = {name: value for name, value in values.items() if value not in (None, False)}
    answer = superuser.post(page.request["PATH_INFO"], {**values, "interval": slower.pk})
    assert answer.status_code == 302, answer.context["errors"]
    task.refresh_from_db()
    assert (task.interval, task.task, task.queue) == (slower, "chatworker.reap_stale_leases", "maintenance")
    assert (task.enabled, task.last_run_at.year) == (False, 2026), "and paused as it was, it still says when it ran"


def test_an_entry_of_chatd_s_keeps_its_name_and_its_task(superuser: Client, task: PeriodicTask) -> None:
    where = reverse("admin:django_celery_beat_periodictask_change", args=[task.pk])
    asked = superuser.get(where).context["adminform"].form.fields
    assert not {"name", "task", "regtask"} & asked.keys()
    renamed = {"name": "off", "task": "other", "regtask": "chatworker.purge", "interval": task.interval_id}
    answer = superuser.post(where, {**renamed, "args": "[]", "kwargs": "{}", "description": "ours"})
    assert answer.status_code == 302, answer.context["errors"]
    task.refresh_from_db()
    assert (task.name, task.task) == ("reap_stale_leases", "chatworker.reap_stale_leases")
    assert (task.description, task.enabled) == ("ours", False), "and the rest is changed"


def test_an_entry_of_somebody_s_own_is_renamed_and_runs_something_else(superuser: Client, task: PeriodicTask) -> None:
    mine = PeriodicTask.objects.create(name="mine", task="chatworker.purge", interval=task.interval)
    where = reverse("admin:django_celery_beat_periodictask_change", args=[mine.pk])
    renamed = {"name": "yours", "task": "other", "interval": task.interval_id, "args": "[]", "kwargs": "{}"}
    answer = superuser.post(where, renamed)
    assert answer.status_code == 302, answer.context["errors"]
    mine.refresh_from_db()
    assert (mine.name, mine.task) == ("yours", "other")


def test_the_last_run_is_that_of_the_task_whatever_the_entry_is_called(superuser: Client, task: PeriodicTask) -> None:
    at_night = PeriodicTask.objects.create(name="at night", task=task.task, interval=task.interval, enabled=False)
    with noted_tick("reap_stale_leases") as did:
        did["reaped"] = 5
    listed = superuser.get(LIST).context["cl"].result_list
    assert {entry.pk for entry in listed if entry.known_run and entry.known_run.did == {"reaped": 5}} == {
        task.pk,
        at_night.pk,
    }


def test_a_task_runs_at_once_in_its_queue(superuser: Client, task: PeriodicTask, sent: list[Any]) -> None:
    assert "Sent to run now: reap_stale_leases." in press(superuser, task, "run_now").content.decode()
    chosen = {"action": "run_now", "_selected_action": [task.pk]}
    assert "Sent to run now" in superuser.post(LIST, chosen, follow=True).content.decode()
    assert sent == [("chatworker.reap_stale_leases", "maintenance")] * 2


def test_a_broker_that_is_away_costs_a_message_and_not_the_page(
    superuser: Client, task: PeriodicTask, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = PeriodicTaskAdmin.celery_app._get_current_object()
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    monkeypatch.setattr(app, "_pool", None)  # those that are made now would stay, with this address
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    page = press(superuser, task, "run_now")
    assert page.status_code == 200
    assert "Redis did not take it" in page.content.decode()


def test_what_belongs_to_chatd_is_paused_and_not_deleted(superuser: Client, task: PeriodicTask) -> None:
    own = PeriodicTask.objects.create(name="mine", task="mine.task", interval=task.interval)
    change = "admin:django_celery_beat_periodictask_change"
    delete = "admin:django_celery_beat_periodictask_delete"
    assert superuser.post(reverse(delete, args=[task.pk]), {"post": "yes"}).status_code == 403
    assert reverse(delete, args=[task.pk]) not in superuser.get(reverse(change, args=[task.pk])).content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [task.pk, own.pk], "post": "yes"}
    superuser.post(LIST, chosen)
    assert PeriodicTask.objects.filter(pk__in=[task.pk, own.pk]).count() == 2
    assert superuser.post(reverse(delete, args=[own.pk]), {"post": "yes"}).status_code == 302
    assert list(PeriodicTask.objects.filter(pk__in=[task.pk, own.pk])) == [task]


def test_a_run_that_nobody_scheduled_counts_as_the_last_one(superuser: Client, task: PeriodicTask) -> None:
    assert "d ago" in superuser.get(LIST).content.decode()
    with noted_tick(task.name):
        pass
    row = superuser.get(LIST).content.decode().split("reap_stale_leases")[1].split("</tr>")[0]
    assert re.search(r"\b\d s ago", row)


@pytest.mark.parametrize("name", ["run_now", "pause", "resume"])
def test_who_may_only_look_runs_and_pauses_nothing(
    viewer: Client, task: PeriodicTask, sent: list[Any], name: str
) -> None:
    before = list(PeriodicTask.objects.order_by("pk").values())
    assert press(viewer, task, name).status_code == 403
    viewer.post(LIST, {"action": name, "_selected_action": [task.pk]})
    assert (list(PeriodicTask.objects.order_by("pk").values()), sent) == (before, [])


def test_a_link_runs_nothing(superuser: Client, task: PeriodicTask, sent: list[Any]) -> None:
    where = reverse("admin:django_celery_beat_periodictask_press", args=[task.pk, "run_now"])
    assert superuser.get(where).status_code == 405
    assert press(superuser, task, "get_urls").status_code == 404
    assert sent == []
