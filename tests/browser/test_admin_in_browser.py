"""The admin as people use it: they log in, look, choose, press, and read what happened."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from chat.execution import State
from chat.models import ApiToken, Chat
from chat.update import chat_read
from tests.factories import chat_in, photograph

pytestmark = pytest.mark.django_db(transaction=True)
CHATS = "/admin/chat/chat/"


def test_an_operator_logs_in_and_sees_how_it_all_goes(
    browser: Any, visit: Any, site: str, root: Any, chats: Any
) -> None:
    page = visit(root)
    page.context.clear_cookies()
    page.goto("/admin/")
    page.fill("input[name=username]", "root")
    page.fill("input[name=password]", "a password of theirs")
    page.click("button[type=submit]")
    page.wait_for_selector("#plots")
    drawn = page.evaluate("[...document.querySelectorAll('canvas.chart')].map(one => !!Chart.getChart(one))")
    assert drawn == [True] * 4
    with page.expect_navigation():
        page.click("#cards >> text=Stopped on an error")
    assert urlsplit(page.url).query == "is=error"
    assert page.locator("#result_list tbody tr").count() == 2


def test_every_page_opens_for_who_may_look_and_shows_no_way_to_change_anything(
    visit: Callable[[Any], Any], auditor: Any, chats: Any
) -> None:
    page = visit(auditor)
    before = photograph()
    ApiToken.issue(auditor, "a script")
    for kind in admin.site._registry:
        name = f"admin:{kind._meta.app_label}_{kind._meta.model_name}"
        row = kind._default_manager.order_by("pk").first()
        places = [reverse(f"{name}_changelist")] + ([reverse(f"{name}_change", args=[row.pk])] if row else [])
        for place in places:
            answer = page.goto(place)
            assert answer.status == 200, place
            buttons = page.locator("#main button:visible, #main input[type=submit]:visible").all_inner_texts()
            shown = {re.sub(r"\s+", " ", text).strip() for text in buttons}
            assert not {text for text in shown if re.search("Save|Delete|Run|Pause|Archive|Interrupt", text)}, place
            assert page.locator("#main a[href*='/add/'], #main a[href*='/delete/']").count() == 0, place
    assert photograph() == before


def test_who_is_not_staff_stays_outside(visit: Callable[[Any], Any], user: Any, chats: Any) -> None:
    page = visit(user)
    for place in ("/admin/", CHATS, f"{CHATS}{chats[State.W]}/change/"):
        page.goto(place)
        assert urlsplit(page.url).path == "/admin/login/"
        assert "chat-in-words" not in page.content()


def test_the_buttons_of_a_chat_do_what_they_say(
    visit: Callable[[Any], Any], root: Any, chats: Any, read: Callable[[Any], str]
) -> None:
    page = visit(root)
    for state, label, arrival in (
        (State.R1, "Interrupt", State.I1),
        (State.E0, "Clear the error", State.W),
        (State.W, "Archive", State.XW),
        (State.XE1, "Unarchive", State.E1),
        (State.INVALID, "Put right", State.E0),
    ):
        page.goto(f"{CHATS}{chats[state]}/change/")
        with page.expect_navigation():
            page.locator("#chat-buttons button:enabled", has_text=label).click()
        assert f"Chat {chats[state]}" in read(page)
        assert chat_read(chats[state]).state is arrival
    waiting = chat_in(State.R0, root, owned=False)
    page.goto(f"{CHATS}{waiting}/change/")
    with page.expect_navigation():
        page.locator("#chat-buttons button:enabled", has_text="Wake").click()
    assert f"Chat {waiting} woken." in read(page)


def test_a_button_that_came_too_late_is_refused_with_the_reason(
    visit: Callable[[Any], Any], root: Any, chats: Any, read: Callable[[Any], str]
) -> None:
    page = visit(root)
    page.goto(f"{CHATS}{chats[State.R0]}/change/")
    Chat.objects.filter(pk=chats[State.R0]).update(status="interrupting")
    with page.expect_navigation():
        page.locator("#chat-buttons button", has_text="Interrupt").click()
    assert "A chat in state I0 (interrupting) cannot be interrupted." in read(page)


@pytest.mark.parametrize(
    ("name", "done", "refused"),
    [
        ("interrupt", 4, 9),
        ("wake", 0, 13),
        ("clear_error", 1, 12),
        ("archive", 3, 10),
        ("unarchive", 3, 10),
        ("reconcile", 1, 12),
    ],
)
def test_a_bulk_action_says_how_many_it_did_and_why_others_were_refused(
    visit: Callable[[Any], Any],
    root: Any,
    chats: Any,
    read: Callable[[Any], str],
    name: str,
    done: int,
    refused: int,
) -> None:
    page = visit(root)
    page.goto(CHATS)
    page.locator("#action-toggle, input[name=action_toggle_all]").first.check()
    page.select_option("select[name=action]", name)
    with page.expect_navigation():
        page.locator("#changelist-actions button[type=submit]").click()
    said = read(page)
    found = re.search(r"(\d+) chats? (?!refused)\w+", said.split("Title")[0]) if done else None
    assert int(found[1] if found else 0) == done
    assert sum(int(number) for number in re.findall(r"(\d+) chats? refused", said)) == refused


def test_a_filter_and_a_search_find_a_chat(visit: Callable[[Any], Any], root: Any, chats: Any) -> None:
    page = visit(root)
    page.goto(CHATS)
    page.fill("#searchbar", str(chats[State.A0])[:8])
    with page.expect_navigation():
        page.press("#searchbar", "Enter")
    assert page.locator("#result_list tbody tr").count() == 1
    page.goto(f"{CHATS}?is=archived")
    assert page.locator("#result_list tbody tr").count() == 4
    page.locator("#result_list tbody tr a").first.click()
    page.wait_for_selector("#chat-in-words")


def test_a_task_is_paused_resumed_and_slowed_down(visit: Callable[[Any], Any], root: Any) -> None:
    task = PeriodicTask.objects.get(name="reap_stale_leases")
    page = visit(root)
    page.goto(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]))
    for label, enabled in (("Pause", False), ("Resume", True)):
        with page.expect_navigation():
            page.locator("#task-buttons button", has_text=label).click()
        task.refresh_from_db()
        assert task.enabled is enabled
    page.select_option("select[name=interval]", label="every second")
    with page.expect_navigation():
        page.locator("button[name=_save], input[name=_save]").first.click()
    task.refresh_from_db()
    assert (task.interval.every, task.interval.period) == (1, "seconds")


def test_a_token_is_shown_once(visit: Callable[[Any], Any], root: Any) -> None:
    token, clear = ApiToken.issue(root, "a script")
    page = visit(root)
    for place in ("/admin/chat/apitoken/", f"/admin/chat/apitoken/{token.pk}/change/"):
        page.goto(place)
        assert clear not in page.content()
        assert token.digest not in page.content()
