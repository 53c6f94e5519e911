"""Every page of the admin, for everybody who may come by: none has an error, and who may only look changes nothing."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, PeriodicTask, SolarSchedule

from chat.execution import State
from chat.models import (
    ApiToken,
    Chat,
    ChatMessage,
    ChatModel,
    QueuedMessage,
    RetentionPolicy,
    RunnerLease,
    TaskRun,
    WorkerProcess,
)
from tests.factories import LIVE_STATES, chat_in, photograph

REGISTERED: list[type[models.Model]] = list(admin.site._registry)
WINDOWS = [Chat, ChatMessage, QueuedMessage, RunnerLease, WorkerProcess, TaskRun]
IN_USE: list[type[models.Model]] = [*WINDOWS, ApiToken]
"""Nobody changes these; a token is made and deleted."""


@pytest.fixture
def filled(user: Any, published: list[Any]) -> Iterator[None]:
    """At least one row of everything, and a chat in every state."""
    for state in LIVE_STATES:
        chat_in(state, user)
    WorkerProcess.objects.create(worker_id=uuid4(), host="here", pid=1, slots=4)
    ApiToken.issue(user, "a script")
    Group.objects.create(name="people")
    RetentionPolicy.objects.create(retention_days=7)
    TaskRun.objects.create(task="purge", outcome="failed", started_at="2026-01-02T03:04:05Z", error="it broke")
    CrontabSchedule.objects.create()
    SolarSchedule.objects.create(event="sunrise", latitude=1, longitude=1)
    ClockedSchedule.objects.create(clocked_time="2030-01-01T00:00:00Z")
    yield


def name_of(kind: type[models.Model], page: str) -> str:
    return f"admin:{kind._meta.app_label}_{kind._meta.model_name}_{page}"


def pages_of(kind: type[models.Model]) -> dict[str, str]:
    row = kind._default_manager.order_by("pk").first()
    assert row is not None, f"the test has no {kind.__name__}"
    return {
        "list": reverse(name_of(kind, "changelist")),
        "add": reverse(name_of(kind, "add")),
        **{page: reverse(name_of(kind, page), args=[row.pk]) for page in ("change", "history", "delete")},
    }


@pytest.mark.parametrize("kind", REGISTERED, ids=lambda kind: kind.__name__)
def test_a_superuser_meets_no_page_with_an_error(superuser: Client, filled: None, kind: type[models.Model]) -> None:
    found = {page: superuser.get(where).status_code for page, where in pages_of(kind).items()}
    wanted = {"list": 200, "add": 200, "change": 200, "history": 200, "delete": 200}
    if kind in (*WINDOWS, RetentionPolicy):
        wanted |= {"add": 403, "delete": 403}
    if kind is PeriodicTask:
        wanted |= {"delete": 403}  # the first is one of Chatd's own
    if kind is RetentionPolicy:
        wanted |= {"list": 302}  # to its only row
    assert found == wanted


@pytest.mark.parametrize("kind", REGISTERED, ids=lambda kind: kind.__name__)
def test_who_may_only_look_sees_everything_and_changes_nothing(
    viewer: Client, filled: None, published: list[Any], kind: type[models.Model]
) -> None:
    pages = pages_of(kind)
    before, rows = photograph(), list(kind._default_manager.order_by("pk").values())
    for page in ("list", "change", "history"):
        assert viewer.get(pages[page], follow=True).status_code == 200
    assert {page: viewer.get(pages[page]).status_code for page in ("add", "delete")} == {"add": 403, "delete": 403}
    for page in ("add", "change", "delete"):
        assert viewer.post(pages[page], {"post": "yes", "name": "x"}).status_code == 403
    shown = viewer.get(pages["list"], follow=True).content.decode() + viewer.get(pages["change"]).content.decode()
    assert 'name="action"' not in shown
    assert 'name="_save"' not in shown
    assert "-buttons" not in shown
    assert (photograph(), list(kind._default_manager.order_by("pk").values()), published) == (before, rows, [])


@pytest.mark.parametrize("kind", REGISTERED, ids=lambda kind: kind.__name__)
def test_who_is_not_staff_has_no_entry(stranger: Client, filled: None, kind: type[models.Model]) -> None:
    for where in (reverse("admin:index"), *pages_of(kind).values()):
        for answer in (stranger.get(where), stranger.post(where, {"post": "yes"})):
            assert (answer.status_code, answer.url.split("?")[0]) == (302, "/admin/login/")


def test_every_page_of_the_menu_is_shown_to_who_may_look_and_to_nobody_else(
    viewer: Client, staff: Client, filled: None
) -> None:
    links = [reverse(name_of(kind, "changelist")) for kind in (*IN_USE, ChatModel, PeriodicTask)]
    menu = viewer.get(reverse("admin:index")).content.decode()
    assert [link for link in links if f'href="{link}"' not in menu] == []
    menu = staff.get(reverse("admin:index")).content.decode()
    assert [link for link in links if f'href="{link}"' in menu] == []
    assert "What you may look at is in the menu." in menu


def test_a_chat_that_raw_sql_has_mangled_has_its_page(superuser: Client, user: Any, published: list[Any]) -> None:
    chat_id = chat_in(State.W, user, row=("no such status", True), history=(("user", [1]), ("tool", [{"type": 2}])))
    message = ChatMessage.objects.filter(chat=chat_id).latest("id")
    for where in (
        reverse("admin:chat_chat_change", args=[chat_id]),
        reverse("admin:chat_chat_changelist"),
        reverse("admin:chat_chatmessage_change", args=[message.pk]),
        reverse("admin:chat_chatmessage_changelist"),
    ):
        assert superuser.get(where).status_code == 200


@pytest.mark.parametrize("key", ["nonsense", "0", "9" * 30, "00000000-0000-0000-0000-000000000000", "_5F"])
@pytest.mark.parametrize("kind", REGISTERED, ids=lambda kind: kind.__name__)
def test_a_row_that_is_not_there_is_no_error(superuser: Client, filled: None, kind: Any, key: str) -> None:
    assert superuser.get(reverse(name_of(kind, "change"), args=[key])).status_code == 302
