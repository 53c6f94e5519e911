"""A root chat and its sub-agents are archived and brought back as one; and a new member joins a living family only."""

from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from chat import hints, transitions
from chat.api.deletion import delete_chat
from chat.errors import ChatNotFound, FamilyArchived, InvalidState, TransitionNotAllowed
from chat.execution import State
from chat.models import Chat
from chat.update import ChatUpdate, chat_update
from tests.factories import chat_in, chat_row, family_of, photograph, photograph_of
from tests.threads import Threads
from tests.transition_calls import TEXT, refused, state_of

pytestmark = pytest.mark.django_db

N, W, E0, E1, R0, R1, I0, I1, A0, A1, XW, XE0, XE1, INVALID = State


def archive(update: ChatUpdate) -> None:
    transitions.set_archived(update, archived=True)


def bring_back(update: ChatUpdate) -> None:
    transitions.set_archived(update, archived=False)


# --- all of them ------------------------------------------------------------------------------------------------

MOVES = {W: XW, E0: XE0, E1: XE1}


@pytest.mark.parametrize("archived", [True, False], ids=["archive", "bring back"])
def test_a_family_moves_as_one_and_each_member_is_told_of_once(
    archived: bool, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    departures = (W, E0, E1, W, W, E1) if archived else (XW, XE0, XE1, XW, XW, XE1)
    family, strangers = family_of(user, *departures), family_of(user, W, W)
    before = {chat_id: chat_row(chat_id) for chat_id in family}
    others = [photograph_of(chat_id) for chat_id in strangers]
    with django_capture_on_commit_callbacks(execute=True), chat_update(family[0]) as update:
        transitions.set_archived(update, archived=archived)
        assert published == []

    back = {arrival: departure for departure, arrival in MOVES.items()}
    arrivals = [(MOVES if archived else back)[state] for state in departures]
    assert [state_of(chat_id) for chat_id in family] == arrivals
    for chat_id in family:
        row, changes = chat_row(chat_id), {"snapshot_version": 8, "archived": archived}
        changes |= {"pin_order": 0} if archived else {}
        assert row.pop("updated_at") > before[chat_id].pop("updated_at")
        assert row | {"snapshot_xid": 0} == before[chat_id] | changes | {"snapshot_xid": 0}
    assert published[0] == ("update", family[0], str(arrivals[0]))
    assert sorted(published) == sorted(
        ("update", chat_id, str(arrival)) for chat_id, arrival in zip(family, arrivals, strict=True)
    )
    assert [photograph_of(chat_id) for chat_id in strangers] == others


def test_what_is_told_of_a_member_is_its_row_after_the_commit(
    user: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Chat] = []
    monkeypatch.setattr(hints, "publish_update", lambda chat, state: told.append(chat))
    family = family_of(user, W, E1, E0)
    with django_capture_on_commit_callbacks(execute=True), chat_update(family[0]) as update:
        archive(update)
    names = [field.attname for field in Chat._meta.concrete_fields if field.attname != "snapshot_xid"]
    assert {chat.pk: {name: getattr(chat, name) for name in names} for chat in told} == {
        chat_id: {name: chat_row(chat_id)[name] for name in names} for chat_id in family
    }
    assert len(told) == 3


@pytest.mark.parametrize("archived", [True, False], ids=["archive", "bring back"])
def test_members_that_are_so_already_stay_untouched_and_are_not_told_of(
    archived: bool, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    states = (W, XW, E1, XE1) if archived else (XW, W, XE1, R1)
    family = family_of(user, *states)
    already = [photograph_of(family[1]), photograph_of(family[3])]
    with django_capture_on_commit_callbacks(execute=True), chat_update(family[0]) as update:
        transitions.set_archived(update, archived=archived)
    assert [photograph_of(family[1]), photograph_of(family[3])] == already
    states_after = [str(state_of(chat_id)) for chat_id in (family[0], family[2])]
    assert states_after == (["XW", "XE1"] if archived else ["W", "E1"])
    assert published == [("update", family[0], states_after[0]), ("update", family[2], states_after[1])]


def test_an_archived_row_that_the_machine_does_not_know_is_archived_already(user: Any) -> None:
    family = family_of(user, W, INVALID)
    with chat_update(family[0]) as update:
        archive(update)
    assert [state_of(chat_id) for chat_id in family] == [XW, INVALID]


@pytest.mark.parametrize(("state", "move"), [(W, archive), (XW, bring_back)], ids=["archive", "bring back"])
def test_a_root_without_sub_agents_goes_alone(state: State, move: Any, user: Any) -> None:
    alone, other = chat_in(state, user), chat_in(state, user)
    before = photograph_of(other)
    with chat_update(alone) as update:
        move(update)
    assert photograph_of(other) == before


# --- or none ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [R0, R1, I0, I1, A0, A1])
@pytest.mark.parametrize("place", [1, 2], ids=["child", "grandchild"])
def test_one_busy_member_keeps_the_whole_family(place: int, busy: State, user: Any) -> None:
    states = [W, W, W, E1]
    states[place] = busy
    family = family_of(user, *states)
    error = refused(family[0], TransitionNotAllowed, archive)
    assert error.details == {
        "transition": "set_archived_true",
        "state": str(busy),
        "chat_id": str(family[place]),
    }
    assert str(family[place]) in error.detail


@pytest.mark.parametrize(
    ("states", "row", "move"),
    [((W, W, W), ("paused", False), archive), ((XW, W, XW), ("running", True), bring_back)],
    ids=["archive", "bring back"],
)
def test_one_member_in_an_invalid_state_keeps_the_whole_family(
    states: tuple[State, ...], row: tuple[str, bool], move: Any, user: Any
) -> None:
    family = family_of(user, *states)
    status, archived = row
    Chat.objects.filter(pk=family[1]).update(status=status, archived=archived)
    error = refused(family[0], InvalidState, move)
    assert error.details["chat_id"] == str(family[1])
    assert error.details["state"] == "Invalid"


@pytest.mark.parametrize("busy", [R0, I1, A0])
def test_a_busy_root_keeps_its_idle_sub_agents(busy: State, user: Any) -> None:
    error = refused(family_of(user, busy, W, W)[0], TransitionNotAllowed, archive)
    assert error.details == {"transition": "set_archived_true", "state": str(busy)}


@pytest.mark.parametrize(
    ("states", "move"), [((W, E1, E0), archive), ((XW, XE1, XE0), bring_back)], ids=["archive", "bring back"]
)
@pytest.mark.parametrize("place", [1, 2], ids=["child", "grandchild"])
def test_a_sub_agent_is_not_parted_from_its_root(place: int, states: tuple[State, ...], move: Any, user: Any) -> None:
    family = family_of(user, *states)
    error = refused(family[place], TransitionNotAllowed, move)
    assert str(family[0]) in error.detail  # where to go instead


def test_a_root_that_is_archived_is_not_archived_again_for_its_sub_agents_sake(user: Any) -> None:
    refused(family_of(user, XW, W)[0], TransitionNotAllowed, archive)


# --- nobody in between ------------------------------------------------------------------------------------------


def locked(chat_ids: list[UUID], lock: str = "FOR UPDATE") -> list[bool]:
    """Whether somebody else would have to wait for such a lock of each row."""
    found: list[bool] = []

    def look() -> None:
        for chat_id in chat_ids:
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute(f"SELECT id FROM chat_chat WHERE id = %s {lock} NOWAIT", [chat_id])
                    found.append(False)
            except OperationalError:
                found.append(True)

    with Threads() as others:
        others.start(look)
    return found


@pytest.mark.django_db(transaction=True)
def test_a_family_that_is_archived_is_locked_as_a_whole_in_the_order_of_its_ids(
    user: Any, published: list[Any]
) -> None:
    family, stranger = family_of(user, W, XW, E0, W, W, W), chat_in(W, user)
    with chat_update(family[0]) as update:
        archive(update)
        assert [member.chat.pk for member in update.descendants()] == sorted(family[1:])
        assert locked([*family, stranger]) == [True] * len(family) + [False]


@pytest.mark.django_db(transaction=True)
def test_a_family_that_gets_a_member_cannot_be_archived_meanwhile_but_get_another(
    user: Any, published: list[Any]
) -> None:
    family = family_of(user, W, W)
    with transaction.atomic():
        create(user, family[1])
        assert locked(family[:1]) == [True]
        assert locked(family[:1], "FOR SHARE") == [False]


# --- new members ------------------------------------------------------------------------------------------------


def create(user: Any, parent: UUID) -> Chat:
    return transitions.create_chat(owner=user, parts=TEXT, parent=Chat.objects.get(pk=parent))


@pytest.mark.parametrize("place", [0, 1, 2], ids=["child", "grandchild", "great-grandchild"])
def test_a_sub_agent_belongs_to_its_parent_and_to_the_root_of_the_family(
    place: int, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    family = family_of(user, R1, W, E0)
    before = photograph()
    with django_capture_on_commit_callbacks(execute=True):
        chat = create(user, family[place])
    row = chat_row(chat.pk)
    assert (row["parent_id"], row["root_id"], row["owner_id"]) == (family[place], family[0], user.pk)
    assert [line for line in photograph() if str(chat.pk) not in line] == before
    assert published == [("update", chat.pk, "R0"), ("wake-up", chat.pk)]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["child", "grandchild", "great-grandchild"])
def test_an_archived_family_takes_no_new_member(place: int, user: Any, published: list[Any]) -> None:
    family = family_of(user, XW, XE0, XW)
    before = photograph()
    with pytest.raises(FamilyArchived):
        create(user, family[place])
    assert (photograph(), published) == (before, [])


def test_a_family_that_was_deleted_takes_no_new_member_either(user: Any, published: list[Any]) -> None:
    family = family_of(user, XW, XW)
    parent = Chat.objects.get(pk=family[1])
    delete_chat(family[0])
    with pytest.raises(ChatNotFound):
        transitions.create_chat(owner=user, parts=TEXT, parent=parent)
    assert photograph() == []


def test_a_family_that_was_brought_back_takes_new_members_again(user: Any) -> None:
    family = family_of(user, XW, XW)
    with chat_update(family[0]) as update:
        bring_back(update)
    assert create(user, family[1]).root_id == family[0]


@pytest.mark.parametrize("state", [W, XW])
def test_nobody_starts_a_sub_agent_of_somebody_elses_chat(
    state: State, user: Any, other_user: Any, published: list[Any]
) -> None:
    others = chat_in(state, other_user)
    before = photograph()
    with pytest.raises(ChatNotFound):
        create(user, others)
    assert (photograph(), published) == (before, [])
