"""Limits on what runs at the same time: kept under races, fair by owner, visible, and never in the way of a stop."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections, transaction

from chat import capacity, transitions
from chat.execution import State
from chat.models import Chat, RunnerLease, WorkerProcess
from chat.presence import Presence
from chat.update import chat_update
from chatworker.acquisition import acquire, chats_without_owner, fairest
from tests.factories import SAID, chat_in, chat_row
from tests.threads import Threads, wait_until_somebody_waits_for_a_lock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def told_to_nobody(published: list[Any]) -> list[Any]:
    return published


@pytest.fixture
def owners(user: Any, other_user: Any, django_user_model: Any) -> list[Any]:
    return [user, other_user, django_user_model.objects.create_user("cat", password="a password of hers")]


def waiting(owner: Any, count: int = 1) -> list[UUID]:
    """Chats of `owner` that wait for a worker, the first the longest."""
    return [chat_in(State.R0, owner, history=(SAID,), owned=False) for _ in range(count)]


def running(owner: Any, count: int = 1) -> list[UUID]:
    return [chat_in(State.R0, owner, history=(SAID,)) for _ in range(count)]


def is_taken(chat_id: UUID) -> bool:
    return acquire(chat_id, uuid4(), uuid4()) is not None


def sub_agent_of(parent_id: UUID) -> UUID:
    parent = Chat.objects.select_related("owner").get(pk=parent_id)
    parts = [{"type": "text", "text": "look it up"}]
    return transitions.create_chat(owner=parent.owner, parent=parent, parts=parts).pk


def test_no_more_chats_run_than_the_limit_allows(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 2
    chats = [*waiting(owners[0]), *waiting(owners[1]), *waiting(owners[2])]
    assert [is_taken(chat_id) for chat_id in chats] == [True, True, False]
    with chat_update(chats[0]) as update:
        transitions.finish_turn(update)
        transitions.abandon(update)
    assert is_taken(chats[2])


def test_no_owner_runs_more_than_their_limit_and_the_others_are_not_held_up(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS_PER_OWNER = 2
    of_one = waiting(owners[0], 4)
    of_another = waiting(owners[1])
    assert [is_taken(chat_id) for chat_id in [*of_one, *of_another]] == [True, True, False, False, True]


def test_a_limit_holds_when_many_workers_take_at_once(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 3
    chats = [chat_id for owner in owners for chat_id in waiting(owner, 4)]

    def take(chat_id: UUID) -> bool:
        try:
            return is_taken(chat_id)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as workers:
        for _ in range(3):  # who came too early comes again, as the sweep would send them
            list(workers.map(take, chats))
    assert Chat.objects.filter(runner_id__isnull=False).count() == 3


def test_a_limit_holds_when_somebody_comes_to_the_head_of_the_line_while_a_chat_is_being_taken(
    settings: Any, owners: list[Any]
) -> None:
    """By fairness: their owner has none running. Of the one that is being taken nobody else sees anything yet."""
    settings.CHATD_MAX_CHATS = 2
    running(owners[0])
    [second_of_one] = waiting(owners[0])
    taken: list[bool] = []
    with Threads() as others, transaction.atomic():
        assert is_taken(second_of_one)
        others.start(lambda: taken.append(is_taken(waiting(owners[1])[0])))
        wait_until_somebody_waits_for_a_lock()
    assert taken == [False]
    assert Chat.objects.filter(runner_id__isnull=False).count() == 2


def test_who_came_later_does_not_pass_those_who_wait(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 1
    first, second = waiting(owners[0]) + waiting(owners[1])
    assert not is_taken(second)
    assert is_taken(first)


def test_the_line_is_fair_by_owner(settings: Any, owners: list[Any]) -> None:
    ann, ben, cat = owners
    settings.CHATD_MAX_CHATS = 100
    running(ann)
    of_ann, of_ben, of_cat = waiting(ann, 3), waiting(ben, 2), waiting(cat, 1)
    line = capacity.next_in_line(sub_agents=False, limit=100)
    assert line == [of_ben[0], of_cat[0], of_ann[0], of_ben[1], of_ann[1], of_ann[2]]


def test_what_happens_to_a_waiting_chat_does_not_cost_it_its_place(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 1
    [first] = waiting(owners[0])
    waiting(owners[1])
    with chat_update(first) as update:
        transitions.send_message(update, parts=[{"type": "text", "text": "and"}], author=owners[0])
    assert capacity.next_in_line(sub_agents=False, limit=1) == [first]


def test_sub_agents_have_a_line_of_their_own(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 1
    [parent] = waiting(owners[0])
    assert is_taken(parent)
    children = [sub_agent_of(parent) for _ in range(2)]
    settings.CHATD_MAX_SUB_AGENTS = 1
    assert [is_taken(child) for child in children] == [True, False]
    assert not is_taken(waiting(owners[1])[0])


@pytest.mark.parametrize("limit", ["CHATD_MAX_CHATS", "CHATD_MAX_CHATS_PER_OWNER"])
def test_a_stop_never_waits(limit: str, settings: Any, owners: list[Any]) -> None:
    setattr(settings, limit, 1)
    running(owners[0])
    chat_id = chat_in(State.I0, owners[0], history=(SAID,), owned=False)
    assert chat_id in chats_without_owner(grace=0)
    assert is_taken(chat_id)


def test_a_chat_that_lost_its_worker_goes_on_without_standing_in_line(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 1
    [lost] = running(owners[0])
    from tests.integration.test_presence import age_heartbeats

    age_heartbeats(60)
    waiting(owners[1])
    assert chats_without_owner(grace=0)[0] == lost
    assert is_taken(lost)


def test_the_sweep_wakes_only_those_whose_turn_it_is(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 2
    running(owners[0])
    of_ben = waiting(owners[1], 3)
    assert chats_without_owner(grace=0) == of_ben[:1]


# --- what the API says ------------------------------------------------------------------------------------------


def places(chats: list[UUID]) -> list[int | None]:
    found = capacity.places_in_line(Chat.objects.filter(pk__in=chats))
    return [found.get(chat_id) for chat_id in chats]


def test_a_chat_behind_a_limit_knows_its_place(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 1
    running(owners[0])
    chats = waiting(owners[1]) + waiting(owners[2])
    assert places(chats) == [1, 2]


def test_a_chat_that_may_start_has_no_place(settings: Any, owners: list[Any]) -> None:
    settings.CHATD_MAX_CHATS = 2
    running(owners[0])
    chats = waiting(owners[1]) + waiting(owners[2])
    assert places(chats) == [None, 2]


@pytest.mark.parametrize(("slots", "expected"), [(1, [1]), (2, [None])])
def test_a_chat_waits_for_a_slot_when_all_workers_are_full(slots: int, expected: list[int | None], owners: Any) -> None:
    running(owners[0])
    presence = Presence(uuid4(), slots=slots)
    presence.hold()
    try:
        assert places(waiting(owners[1])) == expected
    finally:
        connections.close_all()  # and with it the lock
    WorkerProcess.objects.all().delete()


def test_without_a_worker_there_is_no_line(owners: list[Any]) -> None:
    assert places(waiting(owners[0])) == [None]


def test_a_full_worker_gives_its_last_slot_to_the_first_in_line(owners: list[Any]) -> None:
    of_ann = waiting(owners[0], 2)
    [of_ben] = waiting(owners[1])
    assert fairest(of_ann[1]) == of_ann[0]
    assert is_taken(of_ann[0])
    assert fairest(of_ann[1]) == of_ben


@pytest.mark.parametrize("left", ["by its owner", "to be stopped"])
def test_a_full_worker_gives_its_last_slot_to_a_chat_that_stands_in_no_line(left: str, owners: list[Any]) -> None:
    """However many wake-ups of waiting chats are in front of its own."""
    first, woken = waiting(owners[0], 2)
    other = chat_in(State.R0 if left == "by its owner" else State.I0, owners[1], owned=left == "by its owner")
    RunnerLease.objects.all().delete()
    assert fairest(woken) == other
    if left == "by its owner":
        assert is_taken(other)
        assert fairest(woken) == first


@pytest.mark.parametrize("state", [State.I0, State.W, State.E0])
def test_a_wake_up_for_what_does_not_stand_in_line_is_kept(state: State, owners: list[Any]) -> None:
    waiting(owners[0])
    woken = chat_in(state, owners[1], history=(SAID,), owned=False)
    assert fairest(woken) == woken


# --- since when a chat waits ------------------------------------------------------------------------------------


def _take(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.acquire(update, worker_id=uuid4(), runner_id=uuid4())


def _give_back(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.abandon(update)


@pytest.mark.parametrize(
    ("state", "owned", "change", "waits"),
    [
        (State.R0, False, None, True),
        (State.I0, False, None, True),
        (State.R0, True, None, False),
        (State.R0, True, _give_back, True),
        (State.R0, False, _take, False),
        (State.W, False, None, False),
        (State.A0, False, None, False),
        (State.INVALID, False, None, False),
    ],
)
def test_a_chat_waits_while_it_is_runnable_and_nobodys(
    state: State, owned: bool, change: Callable[[UUID], None] | None, waits: bool, owners: list[Any]
) -> None:
    chat_id = chat_in(state, owners[0], owned=owned)
    if change:
        change(chat_id)
    assert (chat_row(chat_id)["waiting_since"] is not None) is waits
