"""Chats as a whole over HTTP: found page by page, kept in order, archived, deleted."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat import transitions
from chat.catalogue import register_model
from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.update import chat_update
from tests.api_client import CHATS, HELLO, Api, api_of
from tests.factories import ROWS, chat_in, chat_row, photograph

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]
ARCHIVED = (State.XW, State.XE0, State.XE1)


@pytest.fixture
def api(user: Any) -> Api:
    return api_of(user)


def titled(owner: Any, *titles: str, **fields: Any) -> list[str]:
    """Ids of chats with these titles, the first one the least recently active."""
    return [
        str(transitions.create_chat(owner=owner, parts=[HELLO], title=title, **fields).pk) for title in titles
    ]  # fmt: skip


def family(owner: Any) -> tuple[UUID, UUID, UUID]:
    """A root, its sub-agent, and the sub-agent's sub-agent; nobody has anything to do."""
    root = transitions.create_chat(owner=owner, parts=[HELLO])
    child = transitions.create_chat(owner=owner, parts=[HELLO], parent=root)
    grandchild = transitions.create_chat(owner=owner, parts=[HELLO], parent=child)
    for member in (root, child, grandchild):
        with chat_update(member.pk) as update:
            transitions.finish_turn(update)
    return root.pk, child.pk, grandchild.pk


def unpinned(state: State, owner: Any) -> UUID:
    chat_id = chat_in(state, owner)
    Chat.objects.filter(pk=chat_id).update(pin_order=0)
    return chat_id


def titles(page: dict[str, Any]) -> list[str]:
    return [chat["title"] for chat in page["items"]]


def pages(api: Api, query: str) -> list[list[str]]:
    """The titles of all pages."""
    told, cursor = [], ""
    while True:
        page = api.get(f"{CHATS}?{query}&cursor={cursor}")[1]
        told.append(titles(page))
        cursor = page["next_cursor"]
        if cursor is None:
            return told


# --- found -----------------------------------------------------------------------------------------------------------


def test_chats_are_listed_with_the_newest_activity_first(api: Api, user: Any) -> None:
    first, _, _ = titled(user, "one", "two", "three")
    assert api.get(CHATS)[1]["next_cursor"] is None
    assert titles(api.get(CHATS)[1]) == ["three", "two", "one"]
    api.post(f"{CHATS}/{first}/messages", {"text": "more"})
    assert titles(api.get(CHATS)[1]) == ["one", "three", "two"]


def test_a_listed_chat_is_the_chat(api: Api, user: Any) -> None:
    for state in ROWS:
        chat_in(state, user)
    listed = [chat for archived in ("true", "false") for chat in api.get(f"{CHATS}?archived={archived}")[1]["items"]]
    assert {chat["state"] for chat in listed} == {str(state) for state in ROWS}
    for chat in listed:
        assert api.get(f"{CHATS}/{chat['id']}")[1] == chat


def test_every_chat_is_on_one_page_also_among_those_of_the_same_moment(api: Api, user: Any) -> None:
    titled(user, *"abcdefg")
    Chat.objects.update(system="all at once")
    assert Chat.objects.values("updated_at").distinct().count() == 1
    told = pages(api, "limit=3")
    assert [len(page) for page in told] == [3, 3, 1]
    assert sorted(title for page in told for title in page) == list("abcdefg")


def test_a_chat_that_becomes_active_between_two_pages_is_not_told_twice(api: Api, user: Any) -> None:
    ids = titled(user, *"abcd")
    page = api.get(f"{CHATS}?limit=2")[1]
    assert titles(page) == ["d", "c"]
    api.patch(f"{CHATS}/{ids[2]}", {"pinned": True})
    assert titles(api.get(f"{CHATS}?limit=2&cursor={page['next_cursor']}")[1]) == ["b", "a"]


def test_a_page_costs_the_same_wherever_it_begins(api: Api, user: Any) -> None:
    titled(user, *"abcde")
    cursor = api.get(f"{CHATS}?limit=2")[1]["next_cursor"]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        api.get(f"{CHATS}?limit=2&cursor={cursor}")
    [listing] = [query["sql"] for query in queries if "updated_at" in query["sql"]]
    assert "OFFSET" not in listing
    assert "COUNT" not in listing.upper()
    assert len(queries) == 3, "whose token, one page, and who of it waits in line"


def test_others_chats_are_not_listed(api: Api, user: Any, other_user: Any) -> None:
    titled(other_user, "hers")
    titled(user, "mine")
    assert titles(api.get(CHATS)[1]) == ["mine"]


@pytest.mark.parametrize("query", ["", "archived=", "archived=false", "archived=&label=&q=&cursor=&limit="])
def test_archived_chats_are_listed_apart(api: Api, user: Any, query: str) -> None:
    archived = chat_in(State.XW, user)
    titled(user, "live")
    assert titles(api.get(f"{CHATS}?{query}")[1]) == ["live"]
    assert [chat["id"] for chat in api.get(f"{CHATS}?archived=true")[1]["items"]] == [str(archived)]


def test_chats_are_found_by_label(api: Api, user: Any) -> None:
    titled(user, "both", labels=["red", "blue"])
    titled(user, "one", labels=["red wine"])
    assert titles(api.get(f"{CHATS}?label=red")[1]) == ["both"]
    assert titles(api.get(f"{CHATS}?label=re")[1]) == []


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("tax", ["Taxes 100%", "my TAX"]),
        ("100%25", ["Taxes 100%"]),
        ("%25", ["Taxes 100%"]),
        ("_", []),
        ("%5C", []),
        ("%27", []),
        ("%F0%9F%98%80", ["smile 😀"]),
    ],
)
def test_chats_are_found_by_a_part_of_their_title(api: Api, user: Any, q: str, found: list[str]) -> None:
    titled(user, "smile 😀", "my TAX", "Taxes 100%")
    assert titles(api.get(f"{CHATS}?q={q}")[1]) == found


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=%00",
        "cursor=" + "A" * 44,
        "cursor=" + "_" * 44,
        "cursor=" + "_" * 200,
        "cursor=" + "A" * 500,
        "cursor=AAAA",
        "cursor=é",
        "limit=0",
        "limit=-1",
        "limit=201",
        "limit=x",
        "limit=" + "9" * 5000,
        "archived=perhaps",
        "q=%00",
        "q=" + "q" * 201,
        "label=%00",
    ],
    ids=lambda query: query[:20],
)
def test_a_list_that_nobody_can_mean_is_refused(api: Api, user: Any, query: str) -> None:
    status, problem = api.get(f"{CHATS}?{query}")
    assert (status, problem["code"]) == (422, "invalid")


# --- kept in order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(ROWS))
def test_title_labels_and_model_may_change_in_every_state_and_nothing_said_does(
    api: Api, user: Any, state: State
) -> None:
    register_model("demo:other", base_url="http://127.0.0.1:9/v1")
    chat_id = chat_in(state, user)
    before = chat_row(chat_id)
    wanted = {"title": "T", "labels": ["a", "b"], "model": "demo:other"}
    status, chat = api.patch(f"{CHATS}/{chat_id}", wanted)
    assert status == 200
    assert {name: chat[name] for name in wanted} == wanted
    assert chat["state"] == str(state)
    changed = {name for name, value in chat_row(chat_id).items() if value != before[name]}
    assert changed == {"title", "labels", "model", "snapshot_version", "snapshot_xid", "updated_at"} - (
        {"snapshot_xid"} if chat_row(chat_id)["snapshot_xid"] == before["snapshot_xid"] else set()
    )
    assert chat["snapshot_version"] == before["snapshot_version"] + 1


def test_a_chat_is_pinned_until_it_is_unpinned_or_archived(api: Api, user: Any) -> None:
    path = f"{CHATS}/{unpinned(State.W, user)}"
    assert api.patch(path, {"pinned": True})[1]["pinned"] is True
    assert api.patch(path, {"pinned": False})[1]["pinned"] is False
    api.patch(path, {"pinned": True})
    assert api.patch(path, {"archived": True})[1]["pinned"] is False
    assert api.patch(path, {"archived": False, "pinned": True})[1]["pinned"] is True


@pytest.mark.parametrize("wanted", [{"pinned": True}, {"pinned": True, "title": "new"}])
def test_an_archived_chat_is_not_pinned(api: Api, user: Any, wanted: dict[str, Any]) -> None:
    chat_id = unpinned(State.XW, user)
    before = photograph()
    status, problem = api.patch(f"{CHATS}/{chat_id}", wanted)
    assert (status, problem["code"], problem["transition"]) == (409, "transition_not_allowed", "pin")
    assert photograph() == before


@pytest.mark.parametrize("state", list(ROWS))
@pytest.mark.parametrize("archived", [True, False])
def test_patch_says_what_should_be_and_where_it_is_so_nothing_happens(
    api: Api, user: Any, state: State, archived: bool
) -> None:
    chat_id = unpinned(state, user)
    before, is_so = photograph(), ROWS[state][1] is archived
    possible = state in ((State.W, State.E0, State.E1) if archived else ARCHIVED)
    status, answer = api.patch(f"{CHATS}/{chat_id}", {"archived": archived, "pinned": False, "title": "a chat"})
    if is_so:
        assert (status, photograph()) == (200, before)
    elif possible:
        assert (status, answer["archived"]) == (200, archived)
    else:
        assert (status, photograph()) == (409, before)
        assert answer["code"] == ("invalid_state" if state is State.INVALID else "transition_not_allowed")


def test_an_empty_patch_changes_nothing(api: Api, user: Any) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    assert api.patch(f"{CHATS}/{chat_id}", {})[0] == 200
    assert photograph() == before


def test_a_patch_is_done_whole_or_not_at_all(api: Api, user: Any) -> None:
    running = chat_in(State.R0, user)
    before = photograph()
    assert api.patch(f"{CHATS}/{running}", {"title": "new", "archived": True})[0] == 409
    assert api.patch(f"{CHATS}/{running}", {"title": "new", "model": "no:such"})[0] == 422
    assert photograph() == before
    idle = chat_in(State.W, user)
    chat = api.patch(f"{CHATS}/{idle}", {"title": "new", "archived": True, "labels": ["old"]})[1]
    assert (chat["title"], chat["state"], chat["labels"], chat["snapshot_version"]) == ("new", "XW", ["old"], 8)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"title": None},
        {"title": 5},
        {"title": "t" * 201},
        {"title": "\x00"},
        {"title": "\ud83d"},
        {"archived": None},
        {"archived": "yes"},
        {"archived": 1},
        {"pinned": 10**30},
        {"labels": None},
        {"labels": "abc"},
        {"labels": [1]},
        {"labels": ["l"] * 21},
        {"labels": ["\x00"]},
        {"model": None},
        {"model": ""},
        {"model": "no:such"},
        {"model": "\x00"},
        {"owner": 1},
        {"status": "waiting"},
        {"system": "no"},
    ],
    ids=lambda body: ascii(body)[:30],
)
def test_a_patch_that_nobody_can_mean_is_refused(api: Api, user: Any, body: Any) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    status, problem = api.patch(f"{CHATS}/{chat_id}", body)
    assert (status, problem["code"]) == (422, "invalid")
    assert photograph() == before


# --- archived and deleted --------------------------------------------------------------------------------------------


def test_a_family_is_archived_and_brought_back_as_one(api: Api, user: Any) -> None:
    root, *others = family(user)
    assert api.patch(f"{CHATS}/{root}", {"archived": True})[1]["state"] == "XW"
    assert [api.get(f"{CHATS}/{one}")[1]["state"] for one in others] == ["XW", "XW"]
    assert api.patch(f"{CHATS}/{root}", {"archived": False})[1]["state"] == "W"
    assert [api.get(f"{CHATS}/{one}")[1]["state"] for one in others] == ["W", "W"]


def test_a_family_with_a_member_at_work_is_not_archived(api: Api, user: Any) -> None:
    root, _, grandchild = family(user)
    api.post(f"{CHATS}/{grandchild}/messages", {"text": "go on"})
    before = photograph()
    status, problem = api.patch(f"{CHATS}/{root}", {"archived": True})
    assert (status, problem["state"], problem["chat_id"]) == (409, "R0", str(grandchild))
    assert photograph() == before


def test_a_sub_agent_is_neither_archived_nor_deleted_apart_from_its_family(api: Api, user: Any) -> None:
    root, child, _ = family(user)
    assert api.patch(f"{CHATS}/{child}", {"archived": True})[0] == 409
    api.patch(f"{CHATS}/{root}", {"archived": True})
    before = photograph()
    status, problem = api.delete(f"{CHATS}/{child}")
    assert (status, problem["code"], problem["transition"]) == (409, "transition_not_allowed", "delete")
    assert str(root) in problem["detail"]
    assert photograph() == before


@pytest.mark.parametrize("state", ARCHIVED)
def test_an_archived_chat_is_deleted_with_all_that_belongs_to_it(api: Api, user: Any, state: State) -> None:
    chat_id, other = chat_in(state, user), chat_in(state, user)
    assert api.delete(f"{CHATS}/{chat_id}") == (204, None)
    assert api.get(f"{CHATS}/{chat_id}")[0] == 404
    assert api.delete(f"{CHATS}/{chat_id}")[0] == 404
    for model in (ChatMessage, QueuedMessage, RunnerLease):
        assert not model.objects.filter(chat_id=chat_id).exists()
    assert api.get(f"{CHATS}/{other}")[0] == 200
    assert ChatMessage.objects.filter(chat_id=other).exists()


@pytest.mark.django_db(transaction=True)  # the guards of messages and queue hold between transactions only
def test_a_family_is_deleted_as_one(api: Api, user: Any) -> None:
    root, *_ = family(user)
    api.patch(f"{CHATS}/{root}", {"archived": True})
    assert api.delete(f"{CHATS}/{root}")[0] == 204
    assert photograph() == []


@pytest.mark.parametrize("state", [state for state in ROWS if state not in ARCHIVED])
def test_a_chat_that_is_not_archived_is_not_deleted(api: Api, user: Any, state: State) -> None:
    chat_id = chat_in(state, user)
    before = photograph()
    status, problem = api.delete(f"{CHATS}/{chat_id}")
    assert (status, problem["state"], problem["transition"]) == (409, str(state), "delete")
    assert problem["code"] == ("invalid_state" if state is State.INVALID else "transition_not_allowed")
    assert photograph() == before


def test_who_watches_a_chat_hears_that_it_is_gone(
    api: Api, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(State.XW, user)
    with django_capture_on_commit_callbacks(execute=True):
        api.delete(f"{CHATS}/{chat_id}")
    assert published == [("update", chat_id, "XW")]
