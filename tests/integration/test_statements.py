"""What each transition costs: a fixed number of statements, however long the history, the queue or the family is.

The transaction's begin and commit are not counted; the three transactions of a plain turn are in `test_door.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from chat import transitions
from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import ANSWERED, CALLING, ROWS, SAID, chat_in, family_of, has_queue, history_of
from tests.table import TABLE
from tests.transition_calls import ANSWER, CALLS, RESULTS, TEXT, Do, first_said, queued_at, send

pytestmark = pytest.mark.django_db

STATEMENTS = {
    "send_message_queue": {"W": 3, "E0": 3, "E1": 5, "R0": 3, "R1": 3, "I0": 3, "I1": 3, "A0": 3, "A1": 3},
    "send_message_steer": {"W": 3, "E0": 3, "E1": 5, "R0": 3, "R1": 3, "I0": 3, "I1": 3, "A0": 3, "A1": 3},
    "send_message_interrupt": {"W": 3, "E0": 3, "E1": 5, "R0": 3, "R1": 3, "I0": 3, "I1": 3, "A0": 3, "A1": 3},
    "edit_message": {"W": 6, "E0": 6, "E1": 7, "R0": 6, "R1": 7, "I0": 6, "I1": 7, "A0": 6, "A1": 7},
    "update_queued_message": {"E1": 3, "R1": 3, "I1": 3, "A1": 3},
    "delete_queued_message": {"E1": 3, "R1": 3, "I1": 3, "A1": 3},
    "promote_queued_message": {"E1": 4, "R1": 2, "I1": 2, "A1": 4},
    "interrupt": {"R0": 2, "R1": 2, "A0": 2, "A1": 2},
    "request_compaction": {"W": 2, "E0": 2, "E1": 2},
    "clear_context": {"W": 3, "E0": 3},
    "record_generation_attempt": {"R0": 2, "R1": 2},
    "record_retry_state": {"R0": 2, "R1": 2},
    "commit_step": {"R0": 3, "R1": 3},
    "absorb_steering": {"R1": 3},
    "enter_requires_action": {"R0": 2, "R1": 2},
    "complete_requires_action": {"A0": 2, "A1": 2},
    "cancel_requires_action": {"A0": 2, "A1": 2},
    "finish_turn": {"R0": 2, "R1": 4},
    "finish_error": {"W": 2, "R0": 2, "R1": 2},
    "finish_interruption": {"I0": 3, "I1": 4},
    "set_archived_true": {"W": 3, "E0": 3, "E1": 3},
    "set_archived_false": {"XW": 3, "XE0": 3, "XE1": 3},
    "reconcile_invalid_state": {"Invalid": 2},
    "acquire": dict.fromkeys(("W", "E0", "E1", "R0", "R1", "I0", "I1", "A0", "A1", "XW", "XE0", "XE1", "Invalid"), 2),
    "abandon": dict.fromkeys(("W", "E0", "E1", "R0", "R1", "I0", "I1", "A0", "A1", "XW", "XE0", "XE1", "Invalid"), 2),
}
"""Lock the chat and read its queue and the end of its history; write the chat, with its lease and a single new message.
And then one each, where it applies: several messages added, queued messages taken out, changed, added. An edit looks up
its message and what precedes it, and hides the rest before it adds; archiving locks and reads the family.
"""
CELLS = [(name, State(state)) for name, costs in STATEMENTS.items() for state in costs]


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements of the block, without those that begin and end the transaction."""
    statements: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        if "SAVEPOINT" not in sql:
            statements.append(sql)
        return execute(sql, *args)

    with connection.execute_wrapper(note):
        yield statements


def doing(name: str, chat_id: UUID) -> Do:
    """The call of a transition that has nothing left to look up: only the machine's own statements are counted."""
    if name != "edit_message":
        return CALLS[name].do
    known = first_said(chat_id)
    return lambda update, user: transitions.edit_message(update, message_id=known, parts=TEXT, author=user)


def cost(chat_id: UUID, do: Do, user: Any) -> int:
    with counted() as statements, chat_update(chat_id) as update:
        do(update, user)
    return len(statements)


def become(chat_id: UUID, name: str, state: State) -> None:
    """Make the chat, which is in R1, one in `state` that transition `name` finds as it needs it."""
    status, archived = ROWS[state]
    Chat.objects.filter(pk=chat_id).update(status=status, archived=archived)
    if not has_queue(state):
        QueuedMessage.objects.filter(chat_id=chat_id).delete()
    if name == "absorb_steering":  # takes no open call
        ChatMessage.objects.filter(chat_id=chat_id).latest("id").delete()


def prices(user: Any, *, messages: int, queued: int) -> dict[str, dict[str, int]]:
    """What every transition costs in every state, with a history and a queue of this length."""
    history = [*[SAID, ANSWERED] * (messages // 2), CALLING]
    chat_id = chat_in(State.R1, user, history=history, queued=queued, steering=(1,))
    assert len(history_of(chat_id)) == messages
    found: dict[str, dict[str, int]] = {}
    for name, state in CELLS:
        savepoint = transaction.savepoint()
        become(chat_id, name, state)
        found.setdefault(name, {})[str(state)] = cost(chat_id, doing(name, chat_id), user)
        transaction.savepoint_rollback(savepoint)
    return found


def test_every_transition_has_its_price_in_every_state_that_allows_it() -> None:
    priced = {(str(CALLS[name].transition), str(state)) for name, state in CELLS}
    assert priced == {cell for cell, outputs in TABLE.items() if outputs and cell[0] != "create"}


@pytest.mark.parametrize(
    ("messages", "queued"), [(3, 1), (3001, 1), (3, 19)], ids=["short", "three thousand messages", "nineteen queued"]
)
def test_a_transition_costs_the_same_however_long_history_and_queue_are(messages: int, queued: int, user: Any) -> None:
    assert prices(user, messages=messages, queued=queued) == STATEMENTS


@pytest.mark.parametrize("queued", [2, 19])
def test_a_new_order_costs_one_statement_more_however_many_messages_move(queued: int, user: Any) -> None:
    busy, stopped = chat_in(State.R1, user, queued=queued), chat_in(State.E1, user, queued=queued)

    def to_the_head(update: ChatUpdate, _: Any) -> None:
        transitions.update_queued_message(update, queued_id=queued_at(update, queued), position=1)

    def promote_the_tail(update: ChatUpdate, _: Any) -> None:
        transitions.promote_queued_message(update, queued_id=queued_at(update, queued))

    assert cost(busy, to_the_head, user) == 3
    assert cost(busy, promote_the_tail, user) == 3
    assert cost(stopped, promote_the_tail, user) == 4


@pytest.mark.parametrize("members", [2, 30])
@pytest.mark.parametrize(("state", "archived"), [(State.W, True), (State.XW, False)], ids=["archive", "bring back"])
def test_a_family_costs_the_same_however_large_it_is(state: State, archived: bool, members: int, user: Any) -> None:
    family = family_of(user, *[state] * members)

    def move(update: ChatUpdate, _: Any) -> None:
        transitions.set_archived(update, archived=archived)

    assert cost(family[0], move, user) == 5
    assert set(Chat.objects.filter(pk__in=family).values_list("archived", "snapshot_version")) == {(archived, 8)}


def test_an_edit_hides_three_thousand_messages_as_cheaply_as_three(user: Any) -> None:
    for messages in (2, 3000):
        chat_id = chat_in(State.W, user, history=[SAID, ANSWERED] * (messages // 2))
        assert cost(chat_id, doing("edit_message", chat_id), user) == STATEMENTS["edit_message"]["W"]
        assert history_of(chat_id) == [("user", "new")]


@pytest.mark.parametrize(("parent", "statements"), [(False, 3), (True, 4)], ids=["a root", "a sub-agent"])
def test_a_new_chat_costs_its_model_its_row_and_its_message(parent: bool, statements: int, user: Any) -> None:
    root = Chat.objects.get(pk=chat_in(State.R0, user)) if parent else None
    with counted() as counting:
        transitions.create_chat(owner=user, parts=TEXT, parent=root)
    assert len(counting) == statements, counting


@pytest.mark.parametrize("name", ["send_message", "edit_message"])
def test_a_model_by_name_costs_one_look_into_the_catalogue(name: str, user: Any) -> None:
    chat_id = chat_in(State.W, user)
    more = {"message_id": first_said(chat_id)} if name == "edit_message" else {}

    def choose(update: ChatUpdate, user: Any) -> None:
        getattr(transitions, name)(update, parts=TEXT, author=user, model="demo:demo", **more)

    usual = STATEMENTS["edit_message" if more else "send_message_queue"]["W"]
    assert cost(chat_id, choose, user) == usual + 1


BUNDLES: dict[str, tuple[int, Do]] = {
    "nothing": (2, lambda update, _: None),
    "a step and the end of the turn": (
        3,
        lambda update, _: (
            transitions.commit_step(update, [*RESULTS, ANSWER]),
            transitions.finish_turn(update),
            transitions.abandon(update),
        ),
    ),
    "a step and the attempt of the next": (
        4,
        lambda update, _: (
            transitions.commit_step(update, RESULTS),
            transitions.record_generation_attempt(update),
        ),
    ),
    "three messages queued": (3, lambda update, user: [send("queue")(update, user) for _ in range(3)]),
}


@pytest.mark.parametrize("bundle", list(BUNDLES))
def test_transitions_of_one_transaction_share_their_statements(bundle: str, user: Any) -> None:
    statements, do = BUNDLES[bundle]
    assert cost(chat_in(State.R0, user), do, user) == statements
