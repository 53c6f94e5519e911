"""Every transition in every state: it leads where the table says, or is refused and changes nothing.

The table is the hand-written copy in `tests/table.py`; what a transition changes besides is in `test_effects.py`.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from chat import transitions
from chat.errors import ChatNotFound, InvalidState, TransitionNotAllowed
from chat.execution import RUNNABLE, State, Transition
from chat.models import ChatMessage
from chat.update import chat_update
from tests.factories import (
    INVALID_ROWS,
    VALID_STATES,
    chat_in,
    chat_row,
    has_queue,
    nowhere,
    photograph,
    queue_of,
)
from tests.table import TABLE, output
from tests.transition_calls import CALLS, TEXT, state_of

pytestmark = pytest.mark.django_db

UNOWNED = {Transition.ABANDON, Transition.REQUEST_COMPACTION}
"""After these nobody owns the chat; after all others the owner's lease is as fresh as it was."""


def _departures() -> Iterator[tuple[str, State, dict[str, Any]]]:
    """(in words, state, how the chat is made) of every state, with one and with two queued messages, and of every
    row that the machine does not know.
    """
    for state in VALID_STATES:
        for queued in (1, 2) if has_queue(state) else (0,):
            yield f"{state}-{queued}", state, {"queued": queued}
    for row, (status, archived, queued) in INVALID_ROWS.items():
        yield row, State.INVALID, {"row": (status, archived), "queued": queued}


def _allowed() -> Iterator[Any]:
    for words, state, chat in _departures():
        for name, call in CALLS.items():
            if TABLE[call.transition, state]:
                yield pytest.param(name, state, call.chat | chat, id=f"{name}-{words}")


def test_every_transition_of_the_specification_is_tried_in_every_state() -> None:
    tried = {(str(call.transition), str(state)) for call in CALLS.values() for _, state, _ in _departures()}
    assert tried == {(transition, state) for transition, state in TABLE if state != "N"}


@pytest.mark.parametrize(("name", "state", "chat"), list(_allowed()))
def test_a_transition_leads_where_the_table_says(
    name: str,
    state: State,
    chat: dict[str, Any],
    user: Any,
    published: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    transition = CALLS[name].transition
    chat_id = chat_in(state, user, **chat)
    assert state_of(chat_id) is state
    before, version = photograph(), chat_row(chat_id)["snapshot_version"]

    with django_capture_on_commit_callbacks(execute=True), chat_update(chat_id) as update:
        CALLS[name].do(update, user)
        assert photograph() == before  # nothing is written before the block ends

    arrived = output(transition, state, queued_afterwards=len(queue_of(chat_id)))
    assert state_of(chat_id) is arrived
    assert chat_row(chat_id)["snapshot_version"] == version + 1
    wake_ups = [("wake-up", chat_id)] if arrived in RUNNABLE and transition in UNOWNED else []
    assert published == [("update", chat_id, str(arrived)), *wake_ups]


@pytest.mark.parametrize(
    ("state", "chat"), [pytest.param(state, chat, id=words) for words, state, chat in _departures()]
)
def test_what_the_table_refuses_changes_nothing_and_tells_nobody(
    state: State, chat: dict[str, Any], user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(state, user, steering=(1,), **chat)
    before = photograph()
    refusal = InvalidState if state is State.INVALID else TransitionNotAllowed
    refusals, expected = {}, {}
    for name, call in CALLS.items():
        if TABLE[call.transition, state]:
            continue
        expected[name] = (refusal, {"transition": str(call.transition), "state": str(state)})
        with django_capture_on_commit_callbacks(execute=True):
            try:
                with chat_update(chat_id) as update:
                    call.do(update, user)
            except Exception as error:
                refusals[name] = (type(error), getattr(error, "details", error))
        assert photograph() == before, name
    assert refusals == expected
    assert published == []


@pytest.mark.parametrize("name", list(CALLS))
def test_a_chat_that_does_not_exist_allows_nothing(name: str, user: Any, published: list[Any]) -> None:
    chat_in(State.R1, user)
    before = photograph()
    with pytest.raises(ChatNotFound), chat_update(nowhere()) as update:
        CALLS[name].do(update, user)
    assert photograph() == before
    assert published == []


def test_what_does_not_exist_can_be_created(
    user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        chat = transitions.create_chat(
            owner=user, parts=TEXT, labels=["a"], system="be brief", options={"seed": 3}, client_tools=[{"name": "ask"}]
        )
    row = chat_row(chat.pk)
    assert state_of(chat.pk) is State(TABLE["create", "N"][0])
    assert (row["snapshot_version"], row["history_version"], row["queue_version"]) == (1, 1, 0)
    assert (row["generation_attempt"], row["retry_state"], row["retry_state_version"]) == (0, None, 0)
    empty = (
        "worker_id", "runner_id", "parent_id", "root_id", "last_error", "requires_action_deadline_at",
        "compaction_requested_at",
    )  # fmt: skip
    assert [row[name] for name in empty] == [None] * len(empty)
    assert (row["owner_id"], row["model"], row["options"]) == (user.pk, "demo:demo", {"seed": 3})
    assert (row["labels"], row["system"], row["client_tools"]) == (["a"], "be brief", [{"name": "ask"}])
    assert (row["title"], row["pin_order"]) == ("new", 0)
    message = ChatMessage.objects.get(chat=chat)
    assert (message.role, message.parts, message.created_by, message.revision) == ("user", TEXT, user, 1)
    assert published == [("update", chat.pk, "R0"), ("wake-up", chat.pk)]


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("state", [State.W, State.E0, State.E1, State.XW, State.XE0, State.XE1])
def test_a_chat_is_not_archived_twice_nor_brought_back_twice(state: State, archived: bool, user: Any) -> None:
    chat_id = chat_in(state, user)

    def move(to: bool) -> UUID:
        with chat_update(chat_id) as update:
            transitions.set_archived(update, archived=to)
        return chat_id

    if chat_row(chat_id)["archived"] is not archived:
        move(archived)
    before = photograph()
    with pytest.raises(TransitionNotAllowed):
        move(archived)
    assert photograph() == before


@pytest.mark.parametrize("row", list(INVALID_ROWS))
def test_what_was_put_right_is_not_put_right_again(row: str, user: Any) -> None:
    status, archived, queued = INVALID_ROWS[row]
    chat_id = chat_in(State.INVALID, user, row=(status, archived), queued=queued)
    with chat_update(chat_id) as update:
        transitions.reconcile_invalid_state(update)
    before = photograph()
    with pytest.raises(TransitionNotAllowed) as refusal, chat_update(chat_id) as update:
        transitions.reconcile_invalid_state(update)
    assert refusal.value.details["state"] == ("E1" if queued else "E0")
    assert photograph() == before
