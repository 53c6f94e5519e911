"""Every page of the admin's menu, as a superuser opens it; and what is added, chosen and pressed there."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from chat.admin.catalogue import KEY_STAYS_BEHIND
from chat.admin.readonly import Listing
from chat.catalogue import model_named, register_model
from chat.execution import State
from chat.models import ApiToken, ModelProvider, TaskRun, WorkerProcess
from chat.models.token import digest
from chat.update import chat_read
from config.celery import app
from tests.factories import chat_in

pytestmark = pytest.mark.django_db(transaction=True)
Visit = Callable[[Any], Any]
Read = Callable[[Any], str]


def save(page: Any) -> None:
    with page.expect_navigation():
        page.locator("button[name=_save], input[name=_save]").first.click()


def test_every_page_of_the_menu_opens_its_list_its_form_and_a_row(visit: Visit, root: Any, chats: Any) -> None:
    ApiToken.issue(root, "a script")
    Group.objects.create(name="operators")
    CrontabSchedule.objects.create()
    WorkerProcess.objects.create(worker_id=uuid4(), host="here", pid=1, slots=10)
    TaskRun.objects.create(task="purge", outcome="running", started_at="2026-01-02T03:04:05Z")
    page = visit(root)
    assert page.goto("/admin/").status == 200
    menu = page.eval_on_selector_all("#nav-sidebar a[href]", "links => links.map(link => link.getAttribute('href'))")
    lists = sorted({where for where in menu if where.count("/") > 3})
    assert len(lists) == 15
    opened = dict.fromkeys(("list", "form", "row"), 0)
    for where in lists:
        assert page.goto(where).status == 200, where
        opened["list"] += 1
        links = page.eval_on_selector_all("#main a[href]", "links => links.map(link => link.getAttribute('href'))")
        form = next((link for link in links if link.startswith(f"{where}add/")), None)
        row = next((link for link in links if link.startswith(where) and "/change/" in link), None)
        for kind, place in (("form", form), ("row", row)):
            if place:
                assert page.goto(place).status == 200, place
                opened[kind] += 1
    assert opened == {"list": 15, "form": 8, "row": 15}


def test_a_task_is_sent_to_run_now(visit: Visit, root: Any, read: Read) -> None:
    task = PeriodicTask.objects.get(name="purge")
    page = visit(root)
    page.goto(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]))
    with page.expect_navigation():
        page.locator("#task-buttons button", has_text="Run now").click()
    assert "Sent to run now: purge." in read(page)
    with app.connection_for_read() as broker:
        wake_up = broker.default_channel.basic_get("maintenance", no_ack=True)
    assert wake_up.headers["task"] == "chatworker.purge"


def test_a_model_is_made_the_default(visit: Visit, root: Any, model: str, read: Read) -> None:
    register_model("demo:other")
    page = visit(root)
    page.goto("/admin/chat/chatmodel/")
    page.locator("#result_list tbody tr", has_text="demo:other").locator("input.action-select").check()
    page.select_option("select[name=action]", "make_default")
    with page.expect_navigation():
        page.locator("#changelist-actions button[type=submit]").click()
    assert "New chats use demo:other." in read(page)
    assert model_named(None) == "demo:other"


def test_a_token_is_added_for_a_user_and_read_once(visit: Visit, root: Any, user: Any, read: Read) -> None:
    page = visit(root)
    page.goto("/admin/chat/apitoken/add/")
    page.click(".select2-selection")
    page.locator(".select2-results__option", has_text=user.username).click()
    page.fill("input[name=name]", "a script")
    save(page)
    clear = next(word for word in read(page).split() if word.startswith("chatd_"))
    token = ApiToken.objects.get()
    assert (token.user, token.name, token.digest) == (user, "a script", digest(clear))
    page.reload()
    assert clear not in page.content()


def test_a_provider_is_added_with_its_key_and_does_not_take_it_elsewhere(visit: Visit, root: Any, read: Read) -> None:
    page = visit(root)
    page.goto("/admin/chat/modelprovider/add/")
    page.fill("input[name=name]", "mistral")
    page.select_option("select[name=kind]", "openai")
    page.fill("input[name=base_url]", "https://here.example/v1")
    page.fill("input[name=api_key]", "sk-very-secret")
    save(page)
    provider = ModelProvider.objects.get(name="mistral")
    assert (provider.api_key, provider.base_url) == ("sk-very-secret", "https://here.example/v1")
    page.goto(reverse("admin:chat_modelprovider_change", args=[provider.pk]))
    assert "sk-very-secret" not in page.content()
    page.fill("input[name=base_url]", "https://elsewhere.example/v1")
    save(page)
    assert KEY_STAYS_BEHIND in read(page)
    provider.refresh_from_db()
    assert provider.base_url == "https://here.example/v1"


def test_all_chats_of_a_filtered_list_are_chosen_over_its_pages(
    visit: Visit, root: Any, user: Any, chats: Any, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listing, "list_per_page", 2)
    stopped = [chats[State.E0], *(chat_in(State.E0, user) for _ in range(3))]
    page = visit(root)
    page.goto("/admin/chat/chat/?is=error")
    page.locator("#action-toggle").check()
    page.click("text=Select all 5 chats")
    page.select_option("select[name=action]", "clear_error")
    with page.expect_navigation():
        page.locator("#changelist-actions button[type=submit]").click()
    assert "4 chats put back to waiting." in read(page)
    assert "1 chat refused" in read(page), "with a queue"
    assert {chat_read(chat_id).state for chat_id in stopped} == {State.W}
