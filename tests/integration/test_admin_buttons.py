"""The buttons of the admin: each is a transition, refused where the table refuses it, and only for who may press."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from chat import hints
from chat.admin import buttons
from chat.admin.buttons import BUTTONS
from chat.admin.chats import ChatAdmin
from chat.admin.pressing import MOST_AT_ONCE, NO_ANSWER
from chat.admin.readonly import Listing
from chat.execution import State
from chat.models import Chat, ChatMessage
from chat.update import chat_read
from tests.factories import LIVE_STATES, chat_in, photograph

W, E0, E1, R0, R1, I0, I1, A0, A1, XW, XE0, XE1, INVALID = LIVE_STATES
LIST = "/admin/chat/chat/"

LEADS_TO = {
    "interrupt": {R0: I0, R1: I1, A0: R0, A1: R1},
    "wake": {},  # of chats that belong to somebody
    "clear_error": {E0: W},
    "archive": {W: XW, E0: XE0, E1: XE1},
    "unarchive": {XW: W, XE0: E0, XE1: E1},
    "reconcile": {INVALID: E0},
}


def press(client: Client, chat_id: Any, name: str) -> Any:
    return client.post(reverse("admin:chat_chat_press", args=[chat_id, name]), follow=True)


def press_for_many(client: Client, name: str, *chat_ids: Any) -> str:
    chosen = {"action": name, "_selected_action": [str(chat_id) for chat_id in chat_ids]}
    return client.post(LIST, chosen, follow=True).content.decode()


def test_there_is_a_button_for_everything_an_operator_may_do() -> None:
    assert set(BUTTONS) == set(LEADS_TO)


@pytest.mark.parametrize("name", LEADS_TO)
@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_button_moves_a_chat_as_the_table_says_or_not_at_all(
    superuser: Client, user: Any, published: list[Any], name: str, state: State
) -> None:
    chat_id = chat_in(state, user)
    before = photograph()
    page = press(superuser, chat_id, name)
    assert page.status_code == 200
    if arrival := LEADS_TO[name].get(state):
        assert chat_read(chat_id).state is arrival
        assert f"Chat {chat_id} {BUTTONS[name].done}. State {arrival}: " in page.content.decode()
        assert [entry.object_id for entry in LogEntry.objects.all()] == [str(chat_id)]
    else:
        assert photograph() == before
        assert (published, LogEntry.objects.count()) == ([], 0)
        said = page.content.decode()
        assert "cannot be" in said or "already" in said or "machine does not know" in said or "queue" in said


@pytest.mark.parametrize("state", [R0, R1, I0, I1])
def test_waking_asks_for_a_worker_and_changes_nothing(
    superuser: Client, user: Any, published: list[Any], state: State
) -> None:
    chat_id = chat_in(state, user, owned=False)
    before = photograph()
    assert "woken." in press(superuser, chat_id, "wake").content.decode()
    assert published == [("wake-up", chat_id)]
    assert photograph() == before


def test_clearing_an_error_leaves_a_note_that_the_model_does_not_see(
    superuser: Client, user: Any, published: list[Any]
) -> None:
    chat_id = chat_in(E0, user)
    said_before = {message.pk for message in ChatMessage.objects.filter(chat=chat_id, deleted=False, compressed=False)}
    press(superuser, chat_id, "clear_error")
    assert Chat.objects.get(pk=chat_id).last_error is None
    note = ChatMessage.objects.filter(chat=chat_id).latest("id")
    assert (note.role, note.visibility, note.parts[0]["text"]) == ("system", "user", buttons.CLEARED)
    assert said_before <= {row.pk for row in ChatMessage.objects.filter(chat=chat_id, deleted=False, compressed=False)}


def test_many_chats_are_done_one_by_one_and_the_others_refused_with_the_reason(
    superuser: Client, user: Any, published: list[Any]
) -> None:
    running, stopped, idle = chat_in(R0, user), chat_in(E0, user), [chat_in(W, user) for _ in range(5)]
    page = press_for_many(superuser, "archive", running, stopped, *idle)
    assert "6 chats archived." in page
    assert f"1 chat refused: A chat in state R0 (running) cannot be archived. ({running})" in page
    assert {chat_read(chat_id).state for chat_id in (*idle, stopped)} == {XW, XE0}
    assert chat_read(running).state is R0
    assert LogEntry.objects.count() == 6


def test_refused_chats_are_named_up_to_a_few_and_then_counted(
    superuser: Client, user: Any, published: list[Any]
) -> None:
    page = press_for_many(superuser, "unarchive", *(chat_in(W, user) for _ in range(5)))
    assert "5 chats refused: A chat in state W (waiting) cannot be unarchived." in page
    assert "and 2 more)" in page


def test_a_database_that_does_not_answer_for_one_chat_costs_the_others_nothing(
    superuser: Client, user: Any, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = chat_in(R0, user, owned=False), chat_in(R0, user, owned=False)

    def publish(chat_id: Any) -> None:
        if chat_id == held:
            raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(hints, "publish_wake_up", publish)
    page = press_for_many(superuser, "wake", held, free)
    assert "1 chat woken." in page
    assert f"1 chat refused: {NO_ANSWER}".replace("'", "&#x27;") in page


def test_whoever_asks_for_all_of_a_long_list_is_refused(
    superuser: Client, user: Any, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChatAdmin, "most_at_once", 2)
    chats = [chat_in(W, user) for _ in range(3)]
    chosen = {"action": "archive", "select_across": "1", "_selected_action": [str(chats[0])]}
    page = superuser.post(LIST, chosen, follow=True).content.decode()
    assert "Nothing was done." in page
    assert {chat_read(chat_id).state for chat_id in chats} == {W}
    assert MOST_AT_ONCE >= 50, "a page full of chats can be chosen"


def test_all_chats_of_a_filtered_list_can_be_chosen_but_not_of_one_that_is_too_long(
    superuser: Client, user: Any, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listing, "list_per_page", 2)
    monkeypatch.setattr(ChatAdmin, "most_at_once", 3)
    stopped, idle = [chat_in(E0, user) for _ in range(3)], chat_in(W, user)
    assert "Select all 3 chats" in superuser.get(LIST, {"is": "error"}).content.decode()
    page = superuser.get(LIST).content.decode()
    assert "Select all 4 chats" not in page
    assert "can be chosen up to 3 chats" in page
    chosen = {"action": "archive", "select_across": "1", "_selected_action": [str(stopped[0])]}
    page = superuser.post(f"{LIST}?is=error", chosen, follow=True).content.decode()
    assert "3 chats archived." in page
    assert {chat_read(chat_id).state for chat_id in stopped} == {XE0}
    assert chat_read(idle).state is W


def test_a_button_shows_only_where_the_state_allows_it(superuser: Client, user: Any, published: list[Any]) -> None:
    page = superuser.get(reverse("admin:chat_chat_change", args=[chat_in(E0, user)])).content.decode()
    section = page.split('id="chat-buttons"')[1].split('id="chat-in-words"')[0]
    can_press = {name: "disabled" not in form for name, form in zip(BUTTONS, section.split("<form")[1:], strict=True)}
    assert {name for name, can in can_press.items() if can} == {"clear_error", "archive"}


def test_a_button_that_is_off_says_why(superuser: Client, user: Any, published: list[Any]) -> None:
    page = superuser.get(reverse("admin:chat_chat_change", args=[chat_in(E1, user)])).content.decode()
    assert 'title="Messages wait in the queue: the next message, or promoting one of them, sets it going."' in page
    assert 'title="A chat in state E1 (error, with a queue) cannot be interrupted."' in page


def test_who_came_from_a_filtered_list_goes_back_to_it(superuser: Client, user: Any, published: list[Any]) -> None:
    filters = {"_changelist_filters": "is=error"}
    chat = reverse("admin:chat_chat_change", args=[chat_in(E0, user)])
    page = superuser.get(chat, filters).content.decode()
    press = re.search(r'action="(/admin/chat/chat/[^"]*/press/clear_error/[^"]*)"', page)
    assert press
    assert superuser.post(html.unescape(press[1])).url == f"{chat}?{urlencode(filters)}"


def test_a_chat_is_explained_on_its_page(superuser: Client, user: Any, published: list[Any]) -> None:
    page = superuser.get(reverse("admin:chat_chat_change", args=[chat_in(R1, user)])).content.decode()
    assert "running, with a queue. There is work to do, and messages wait for their turn." in page


@pytest.mark.parametrize("name", BUTTONS)
def test_who_may_only_look_has_no_buttons_and_presses_none(
    viewer: Client, user: Any, published: list[Any], name: str
) -> None:
    chats = [chat_in(state, user) for state in LIVE_STATES]
    before = photograph()
    assert 'name="action"' not in viewer.get(LIST).content.decode()
    for chat_id in chats:
        assert "chat-buttons" not in viewer.get(reverse("admin:chat_chat_change", args=[chat_id])).content.decode()
        assert press(viewer, chat_id, name).status_code == 403
    press_for_many(viewer, name, *chats)
    assert (photograph(), published) == (before, [])


def test_a_link_presses_nothing(superuser: Client, user: Any, published: list[Any]) -> None:
    where = reverse("admin:chat_chat_press", args=[chat_in(W, user), "archive"])
    before = photograph()
    assert superuser.get(where).status_code == 405
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = superuser.cookies
    assert careful.post(where).status_code == 403
    assert photograph() == before


def test_a_button_or_a_chat_that_does_not_exist_is_said_to_be_unknown(
    superuser: Client, user: Any, published: list[Any]
) -> None:
    assert press(superuser, chat_in(W, user), "explode").status_code == 404
    page = press(superuser, "00000000-0000-0000-0000-000000000000", "archive").content.decode()
    assert "There is no such chat" in page


def test_a_sub_agent_is_not_archived_apart_from_its_root(superuser: Client, user: Any, published: list[Any]) -> None:
    root = chat_in(W, user)
    child = chat_in(W, user, parent=root)
    assert "A sub-agent goes with its family" in press(superuser, child, "archive").content.decode()
    press(superuser, root, "archive")
    assert {chat_read(chat_id).state for chat_id in (root, child)} == {XW}
