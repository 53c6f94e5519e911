"""Families meet: archiving, beginning a sub-agent and sending to one, each before the other.

Whoever archives locks the root first, then its descendants; whoever begins a chat below it shares the root meanwhile.
"""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from chat import transitions
from chat.execution import State
from chat.models import Chat
from chat.update import chat_read, chat_update
from tests.factories import family_of, history_of
from tests.racing.threads import one_then_the_other, told_of, wait_until_waiting
from tests.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = [{"type": "text", "text": "new"}]


def archive(chat_id: UUID, *, archived: bool = True) -> None:
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=archived)


def create_below(parent_id: UUID, user: Any) -> None:
    transitions.create_chat(owner=user, parts=TEXT, parent=Chat.objects.get(pk=parent_id))


def send(chat_id: UUID, user: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user)


def states(*chats: UUID) -> list[tuple[State, int]]:
    """State and snapshot of each."""
    snapshots = [chat_read(chat_id) for chat_id in chats]
    return [(snapshot.state, snapshot.chat.snapshot_version) for snapshot in snapshots]


AT_REST, ARCHIVED = [(State.W, 7)] * 3, [(State.XW, 8)] * 3


@pytest.mark.parametrize("parent", [0, 1, 2], ids=["the root", "a child", "a grandchild"])
def test_a_chat_begun_below_a_family_that_is_just_being_archived_is_refused(
    parent: int, user: Any, published: list[Any]
) -> None:
    family = family_of(user, State.W, State.W, State.W)
    outcome = one_then_the_other(partial(archive, family[0]), partial(create_below, family[parent], user))
    assert outcome == ("done", "FamilyArchived")
    assert states(*family) == ARCHIVED
    assert Chat.objects.count() == 3
    assert sorted(published) == sorted(("update", chat_id, "XW") for chat_id in family)


@pytest.mark.parametrize("parent", [0, 1, 2], ids=["the root", "a child", "a grandchild"])
def test_a_family_below_which_a_chat_just_begins_is_not_archived(parent: int, user: Any, published: list[Any]) -> None:
    family = family_of(user, State.W, State.W, State.W)
    outcome = one_then_the_other(partial(create_below, family[parent], user), partial(archive, family[0]))
    assert outcome == ("done", "TransitionNotAllowed")
    assert states(*family) == AT_REST
    new = Chat.objects.exclude(pk__in=family).get()
    assert (new.root_id, states(new.pk)) == (family[0], [(State.R0, 1)])
    assert published == [("update", new.pk, "R0"), ("wake-up", new.pk)]


def test_a_chat_may_begin_below_a_family_that_has_just_been_brought_back(user: Any, published: list[Any]) -> None:
    family = family_of(user, State.XW, State.XW, State.XW)
    back = partial(archive, family[0], archived=False)
    assert one_then_the_other(back, partial(create_below, family[1], user)) == ("done", "done")
    assert states(*family) == [(State.W, 8)] * 3
    assert Chat.objects.filter(root_id=family[0]).count() == 3


def test_two_chats_begin_below_a_root_without_waiting_for_each_other(user: Any, published: list[Any]) -> None:
    family = family_of(user, State.W, State.W)
    with transaction.atomic():
        create_below(family[0], user)
        with Threads() as others:  # and it ends while the first is not committed
            others.start(partial(create_below, family[1], user))
    assert Chat.objects.filter(root_id=family[0]).count() == 3


@pytest.mark.parametrize("member", [1, 2], ids=["a child", "a grandchild"])
def test_a_message_to_a_member_of_a_family_that_is_just_being_archived_is_refused(
    member: int, user: Any, published: list[Any]
) -> None:
    family = family_of(user, State.W, State.W, State.W)
    outcome = one_then_the_other(partial(archive, family[0]), partial(send, family[member], user))
    assert outcome == ("done", "TransitionNotAllowed")
    assert states(*family) == ARCHIVED
    assert not any(("user", "new") in history_of(chat_id) for chat_id in family)


@pytest.mark.parametrize("member", [1, 2], ids=["a child", "a grandchild"])
def test_a_family_with_a_member_that_just_begins_to_work_is_not_archived(
    member: int, user: Any, published: list[Any]
) -> None:
    family = family_of(user, State.W, State.W, State.W)
    outcome = one_then_the_other(partial(send, family[member], user), partial(archive, family[0]))
    assert outcome == ("done", "TransitionNotAllowed")
    expected = list(AT_REST)
    expected[member] = (State.R0, 8)
    assert states(*family) == expected


def test_of_two_archivings_of_a_family_at_once_the_second_finds_it_archived(user: Any, published: list[Any]) -> None:
    family = family_of(user, State.W, State.W, State.W)
    outcome = one_then_the_other(partial(archive, family[0]), partial(archive, family[0]))
    assert outcome == ("done", "TransitionNotAllowed")
    assert states(*family) == ARCHIVED


def test_a_send_to_a_child_a_creation_below_it_and_the_archiving_of_both_wait_in_line(
    user: Any, published: list[Any]
) -> None:
    family = family_of(user, State.W, State.W)
    told: dict[str, str] = {}
    with Threads() as others, transaction.atomic():
        send(family[1], user)
        others.start(lambda: told.update(create=told_of(partial(create_below, family[1], user))))
        wait_until_waiting(1)  # holds the root, wants the child
        others.start(lambda: told.update(archive=told_of(partial(archive, family[0]))))
        wait_until_waiting(2)  # wants the root
    assert told == {"create": "done", "archive": "TransitionNotAllowed"}
    assert states(*family) == [(State.W, 7), (State.R0, 8)]


# --- past the door ----------------------------------------------------------------------------------------------


def insert_below(parent: UUID, root: UUID, user: Any) -> str:
    """As `create_chat` would, but without looking at the root."""
    try:
        Chat.objects.create(owner=user, parent_id=parent, root_id=root, model="demo:demo", status="running")
    except IntegrityError as error:
        return str(error.__cause__.diag.constraint_name)
    return "done"


@pytest.mark.parametrize("parent", [0, 1], ids=["the root", "a child"])
@pytest.mark.parametrize("rolled_back", [False, True], ids=["committed", "rolled back"])
def test_even_plain_sql_waits_for_an_archiving_before_it_puts_a_chat_below(
    parent: int, rolled_back: bool, user: Any, published: list[Any]
) -> None:
    family = family_of(user, State.W, State.W)
    told: list[str] = []
    with Threads() as others, transaction.atomic():
        archive(family[0])
        others.start(lambda: told.append(insert_below(family[parent], family[0], user)))
        wait_until_waiting()
        transaction.set_rollback(rolled_back)
    assert told == ["done" if rolled_back else "archived_family_takes_no_chat"]
    assert Chat.objects.filter(root_id=family[0]).count() == 1 + rolled_back
