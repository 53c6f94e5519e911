"""Lists of the admin: what is found, what is counted, and that no statement looks at everything."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.admin import finding, pages
from chat.admin.readonly import Listing
from chat.execution import State
from chat.models import Chat, ChatMessage, RunnerLease
from tests.factories import INVALID_ROWS, LIVE_STATES, SAID, SERVER_CALL, chat_in

CHATS, MESSAGES, LEASES = "/admin/chat/chat/", "/admin/chat/chatmessage/", "/admin/chat/runnerlease/"


def listed(client: Client, where: str, **parameters: Any) -> set[Any]:
    """The primary keys of the rows that the list shows."""
    answer = client.get(where, parameters)
    assert answer.status_code == 200
    return {row.pk for row in answer.context["cl"].result_list}


@pytest.fixture
def by_state(user: Any, published: list[Any]) -> dict[State, UUID]:
    return {state: chat_in(state, user, owned=state is State.R0) for state in LIVE_STATES}


def chat_with_id(beginning: str, owner: Any) -> UUID:
    """An untitled idle chat."""
    chat = Chat.objects.create(pk=UUID(f"{beginning:f<32}"), owner=owner, model="demo:demo", status="waiting")
    return chat.pk


FILTERS = {
    "waiting": {"W"},
    "running": {"R0", "R1"},
    "unowned": {"R1", "I0", "I1"},
    "interrupting": {"I0", "I1"},
    "requires_action": {"A0", "A1"},
    "error": {"E0", "E1"},
    "archived": {"XW", "XE0", "XE1", "Invalid"},
    "invalid": {"Invalid"},
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_shows_the_chats_of_its_states(superuser: Client, by_state: dict[State, UUID], name: str) -> None:
    found = listed(superuser, CHATS, **{"is": name})
    assert {str(state) for state, chat_id in by_state.items() if chat_id in found} == FILTERS[name]


INDEXES = {
    "waiting": "chat_idle_by_activity",
    "running": "chat_with_work_to_do",
    "interrupting": "chat_with_work_to_do",
    "unowned": "chat_waiting_for_worker",
    "requires_action": "chat_waiting_for_client",
    "error": "chat_stopped_on_error",
}


def test_filters_pass_over_no_chats_that_an_archiving_has_just_touched(
    superuser: Client, user: Any, by_state: dict[State, UUID]
) -> None:
    """Those are the newest, and most."""
    archived = [Chat(owner=user, model="demo:demo", status="waiting", archived=True) for _ in range(3_000)]
    Chat.objects.bulk_create(archived, batch_size=1_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_chat")
    for name, index in INDEXES.items():
        chosen = superuser.get(CHATS, {"is": name}).context["cl"].queryset[:50]
        assert re.search(rf" (using|Index Scan on) {index} ", chosen.explain()), name


def test_every_row_that_the_machine_does_not_know_is_found(
    superuser: Client, user: Any, by_state: dict[State, UUID]
) -> None:
    broken = {
        chat_in(State.W, user, row=(status, archived), queued=queued)
        for status, archived, queued in INVALID_ROWS.values()
    }
    assert listed(superuser, CHATS, **{"is": "invalid"}) == broken | {by_state[State.INVALID]}


def test_chats_are_found_by_id_owner_and_title(
    superuser: Client, user: Any, other_user: Any, by_state: dict[State, UUID]
) -> None:
    theirs = chat_in(State.W, other_user)
    Chat.objects.filter(pk=theirs).update(title="Notes about the Sea")
    for text in (str(theirs), str(theirs)[:8], theirs.hex[:12].upper(), other_user.username, "about the sea", " Sea "):
        assert listed(superuser, CHATS, q=text) == {theirs}, text
    assert listed(superuser, CHATS, q=user.username) == set(by_state.values())
    assert listed(superuser, CHATS, q="nobody says this") == set()


@pytest.mark.parametrize("name", ["abba", "cafe", "2024", "deadbeef"])
def test_an_owner_is_found_by_a_name_that_an_id_begins_with(
    superuser: Client, user: Any, django_user_model: Any, by_state: dict[State, UUID], name: str
) -> None:
    """Chats whose ids begin so are of somebody else."""
    chat_with_id(name, user)
    theirs = chat_in(State.W, django_user_model.objects.create_user(name))
    assert listed(superuser, CHATS, q=name) == {theirs}


@pytest.mark.parametrize("word", ["cafe", "2024", "deadbee", "deadbeef"])
def test_a_word_that_could_be_the_beginning_of_an_id_is_found_in_titles(
    superuser: Client, user: Any, by_state: dict[State, UUID], word: str
) -> None:
    """Of eight digits and more only where no id begins so."""
    titled = by_state[State.W]
    Chat.objects.filter(pk=titled).update(title=f"Notes about {word}")
    assert listed(superuser, CHATS, q=word) == {titled}
    begins_so = chat_with_id(word, user)
    assert listed(superuser, CHATS, q=word) == ({begins_so} if len(word) >= 8 else {titled})


def test_a_title_is_searched_among_the_newest_chats_only(
    superuser: Client, by_state: dict[State, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "NEWEST_TITLES", 3)
    assert len(listed(superuser, CHATS, q="a chat")) == 3


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "\x00", "0" * 500, "-", "deadbeef", "§" * 50])
@pytest.mark.parametrize("where", [CHATS, MESSAGES, LEASES, "/admin/chat/queuedmessage/", "/admin/auth/user/"])
def test_no_search_is_an_error(superuser: Client, by_state: dict[State, UUID], where: str, text: str) -> None:
    assert superuser.get(where, {"q": text}).status_code == 200


def test_messages_are_found_by_number_and_chat(superuser: Client, by_state: dict[State, UUID]) -> None:
    chat_id = by_state[State.R1]
    theirs = set(ChatMessage.objects.filter(chat=chat_id).values_list("pk", flat=True))
    assert listed(superuser, MESSAGES, chat__id__exact=chat_id) == theirs
    assert listed(superuser, MESSAGES, q=str(chat_id)[:10]) == theirs
    assert listed(superuser, MESSAGES, q=str(min(theirs))) == {min(theirs)}


def test_a_message_of_a_tool_begins_with_the_name_of_the_tool(superuser: Client, user: Any, published: Any) -> None:
    chat_in(State.W, user, history=[SAID, ("tool", [{**SERVER_CALL, "type": "tool_result"}])])
    excerpts = [row.first_text for row in superuser.get(MESSAGES).context["cl"].result_list]
    assert excerpts == ["search", "hello"]


def test_without_a_chat_the_newest_messages_are_listed(
    superuser: Client, by_state: dict[State, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.admin.history.NEWEST_MESSAGES", 4)
    newest = set(ChatMessage.objects.order_by("-pk").values_list("pk", flat=True)[:4])
    assert listed(superuser, MESSAGES) == newest
    assert listed(superuser, MESSAGES, q=" ") == newest, "a search for nothing is none"
    assert listed(superuser, MESSAGES, chat__id__exact=by_state[State.W]) != newest


def test_leases_are_told_apart_by_their_freshness(superuser: Client, user: Any, published: list[Any]) -> None:
    fresh, old = chat_in(State.R0, user), chat_in(State.R0, user)
    RunnerLease.objects.filter(chat=old).update(heartbeat_at=Now() - timedelta(minutes=5))
    for name, chat_id in (("fresh", fresh), ("expired", old)):
        found = listed(superuser, LEASES, heartbeat=name)
        assert set(RunnerLease.objects.filter(pk__in=found).values_list("chat", flat=True)) == {chat_id}


def test_a_long_list_says_that_it_is_cut_and_has_no_page_beyond(
    superuser: Client, by_state: dict[State, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    monkeypatch.setattr(Listing, "list_per_page", 5)
    page = superuser.get(CHATS, {"p": 2}).content.decode()
    assert "the first 10 chats; search or filter for others" in page
    assert superuser.get(CHATS, {"p": 3}).status_code == 302, "the last page is the second"


@pytest.mark.parametrize("where", [CHATS, MESSAGES])
def test_no_statement_of_a_list_counts_or_sorts_without_a_limit(
    superuser: Client, by_state: dict[State, UUID], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(Listing, "list_per_page", 5)
    with CaptureQueriesContext(connection) as statements:
        superuser.get(where)
    of_table = [found["sql"] for found in statements if re.search('FROM "chat_chat(message)?"', found["sql"])]
    assert len(of_table) >= 2, "a count and a page"
    assert [sql for sql in of_table if not re.search(r"LIMIT \d+( OFFSET \d+)?(\) subquery)?$", sql)] == []


def test_a_column_without_an_index_cannot_be_sorted_by(superuser: Client, by_state: dict[State, UUID]) -> None:
    for where, order in ((CHATS, ["-updated_at", "-pk"]), (MESSAGES, ["-id"])):
        for column in range(1, 9):
            changes = superuser.get(where, {"o": column}).context["cl"]
            assert list(dict.fromkeys(changes.queryset.query.order_by)) == order


def test_an_empty_list_says_why_and_offers_what_may_be_done(superuser: Client, viewer: Client, db: None) -> None:
    page = superuser.get(CHATS).content.decode()
    assert "There is nothing here yet." in page
    assert "Add chat" not in page, "nobody adds a chat here"
    assert 'href="?"' in superuser.get(CHATS, {"q": "nowhere"}).content.decode()
    tokens = "/admin/chat/apitoken/"
    assert f"{tokens}add/" in superuser.get(tokens).content.decode()
    assert f"{tokens}add/" not in viewer.get(tokens).content.decode()
