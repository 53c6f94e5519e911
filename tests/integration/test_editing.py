"""A message said otherwise: what came before stays untouched, what came after is hidden, the queue is emptied."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from chat import transitions
from chat.catalogue import register_model
from chat.errors import (
    ChatRefusal,
    HistoryNotWellFormed,
    MessageInvalid,
    MessageNotFound,
    ModelUnknown,
    NotAUserMessage,
    OptionsInvalid,
)
from chat.execution import State
from chat.models import ChatMessage
from chat.transitions import NewMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import (
    ANSWERED,
    CALLING,
    SAID,
    chat_in,
    chat_row,
    history_of,
    photograph_of,
    queue_of,
)
from tests.transition_calls import ANSWER, RESULTS, TEXT, first_said, refused, result_for, said, send

pytestmark = pytest.mark.django_db

W, R0, R1 = State.W, State.R0, State.R1
FOUND = [("tool", result.parts) for result in RESULTS]
AGAIN = ("user", [{"type": "text", "text": "and then?"}])
LONG = (SAID, ANSWERED, AGAIN, CALLING, *FOUND, ANSWERED)
"""A history of two turns."""


def message(chat_id: UUID, place: int) -> int:
    """The id of a message of the history, 1 for the first."""
    return ChatMessage.objects.filter(chat_id=chat_id, deleted=False).order_by("id")[place - 1].pk


def edit(chat_id: UUID, message_id: int, user: Any, text: str = "new", **more: Any) -> ChatMessage:
    with chat_update(chat_id) as update:
        parts = [{"type": "text", "text": text}]
        return transitions.edit_message(update, message_id=message_id, parts=parts, author=user, **more)


def photographed_messages(chat_id: UUID) -> list[str]:
    return [row for row in photograph_of(chat_id) if row.startswith("chat_chatmessage ")]


# --- what is refused --------------------------------------------------------------------------------------------

NOBODYS: dict[str, Callable[[UUID, Any], int]] = {
    "of no chat": lambda _, __: 2**40,
    "zero": lambda _, __: 0,
    "negative": lambda _, __: -1,
    "beyond the column": lambda _, __: 2**63,
    "of another chat": lambda _, user: first_said(chat_in(W, user)),
    "of another user": lambda _, user: first_said(chat_in(W, type(user).objects.create(username="eve"))),
    "deleted by an earlier edit": lambda chat_id, user: _deleted(chat_id, user),
}


def _deleted(chat_id: UUID, user: Any) -> int:
    known = message(chat_id, 3)
    edit(chat_id, known, user)
    return known


@pytest.mark.parametrize("which", list(NOBODYS))
@pytest.mark.parametrize("state", [W, R1])
def test_a_message_that_the_history_does_not_hold_cannot_be_edited(state: State, which: str, user: Any) -> None:
    chat_id = chat_in(state, user, history=LONG)
    known = NOBODYS[which](chat_id, user)
    refused(
        chat_id,
        MessageNotFound,
        lambda update: transitions.edit_message(update, message_id=known, parts=TEXT, author=user),
    )


SUMMARY = NewMessage("user", [{"type": "text", "text": "so far"}], visibility="model", compressed=True)
OTHERS_WORDS: dict[str, list[NewMessage]] = {
    "the assistant's": [ANSWER],
    "a tool's": [],
    "a summary that only the model sees": [SUMMARY],
    "the system's": [said("be brief", "system")],
}


@pytest.mark.parametrize("whose", list(OTHERS_WORDS))
def test_only_what_a_user_said_can_be_edited(whose: str, user: Any) -> None:
    chat_id = chat_in(R0, user)
    with chat_update(chat_id) as update:
        last = transitions.commit_step(update, [*RESULTS, *OTHERS_WORDS[whose]])[-1]
    refused(
        chat_id,
        NotAUserMessage,
        lambda update: transitions.edit_message(update, message_id=last.pk, parts=TEXT, author=user),
    )


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"parts": []}, MessageInvalid),
        ({"parts": [{"type": "text", "text": " "}]}, MessageInvalid),
        ({"model": "demo:nobody"}, ModelUnknown),
        ({"options": {"seed": "many"}}, OptionsInvalid),
        ({"suffix": [NewMessage("assistant", [])]}, MessageInvalid),
        ({"suffix": RESULTS}, HistoryNotWellFormed),
        ({"suffix": [NewMessage("assistant", CALLING[1]), ANSWER]}, HistoryNotWellFormed),
    ],
    ids=["nothing", "blanks", "model", "options", "empty suffix", "results of no call", "open calls"],
)
@pytest.mark.parametrize("state", [W, R1])
def test_an_edit_that_cannot_be_said_changes_nothing(
    state: State, arguments: dict[str, Any], refusal: type[ChatRefusal], user: Any
) -> None:
    chat_id = chat_in(state, user, history=LONG)
    known = message(chat_id, 3)
    refused(
        chat_id,
        refusal,
        lambda update: transitions.edit_message(
            update, **{"message_id": known, "parts": TEXT, "author": user} | arguments
        ),
    )


# --- what it leaves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [1, 3])
def test_what_came_before_is_untouched_and_what_came_after_is_hidden(place: int, user: Any) -> None:
    chat_id = chat_in(R1, user, history=LONG)
    ids = list(ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values_list("id", flat=True))
    rows, words = photographed_messages(chat_id), history_of(chat_id)
    replacement = edit(chat_id, ids[place - 1], user)
    after = photographed_messages(chat_id)
    untouched = [row for row in after if row in rows]
    assert len(untouched) == place - 1
    assert all(any(f'"id":{known},' in row for row in untouched) for known in ids[: place - 1])
    hidden = ChatMessage.objects.filter(chat_id=chat_id, deleted=True).order_by("id")
    assert [row.pk for row in hidden] == ids[place - 1 :]
    assert {row.revision for row in hidden} == {8}
    assert history_of(chat_id) == [*words[: place - 1], ("user", "new")]
    assert (replacement.pk, replacement.revision) == (message(chat_id, place), 8)
    assert replacement.pk > ids[-1]


def test_the_queue_is_emptied_whatever_waits_in_it(user: Any) -> None:
    chat_id = chat_in(R1, user, queued=5, steering=(2,), history=LONG)
    edit(chat_id, message(chat_id, 1), user)
    assert queue_of(chat_id) == []
    assert chat_row(chat_id)["queue_version"] == 8


def test_what_an_earlier_edit_hid_keeps_the_revision_in_which_it_was_hidden(user: Any) -> None:
    chat_id = chat_in(W, user, history=LONG)
    edit(chat_id, message(chat_id, 3), user, "first")
    hidden = [row for row in photographed_messages(chat_id) if '"deleted":true' in row]
    edit(chat_id, message(chat_id, 3), user, "second")
    edit(chat_id, message(chat_id, 1), user, "third")
    assert set(hidden) <= set(photographed_messages(chat_id))  # not even written again
    rows = ChatMessage.objects.filter(chat_id=chat_id).order_by("id").values_list("deleted", "revision")
    assert list(rows) == [(True, 10), (True, 10), *[(True, 8)] * 5, (True, 9), (True, 10), (False, 10)]
    assert history_of(chat_id) == [("user", "third")]


def test_calls_that_the_surviving_history_leaves_open_are_closed_once(user: Any) -> None:
    history = (SAID, CALLING, FOUND[0], AGAIN, CALLING)
    chat_id = chat_in(R0, user, history=history)
    edit(chat_id, message(chat_id, 4), user)
    assert history_of(chat_id)[2:] == [
        ("tool", "s1=found"),
        ("tool", "c1!=interrupted by message edit"),
        ("user", "new"),
    ]


def test_a_suffix_follows_at_once(user: Any) -> None:
    chat_id = chat_in(R0, user, history=LONG)
    call = {"type": "tool_call", "tool_call_id": "s7", "tool_name": "search", "args": {}}
    suffix = [NewMessage("assistant", [call], visibility="user", compressed=True), result_for(call)]
    edit(chat_id, message(chat_id, 3), user, suffix=suffix)
    assert history_of(chat_id)[2:] == [("user", "new"), ("assistant", "s7()"), ("tool", "s7=found")]
    row = ChatMessage.objects.get(pk=message(chat_id, 4))
    assert (row.visibility, row.compressed, row.revision) == ("user", True, 8)


def test_author_model_and_options_are_those_of_the_edit(user: Any, other_user: Any) -> None:
    register_model("demo:second")
    chat_id = chat_in(W, user, history=LONG)
    replacement = edit(chat_id, message(chat_id, 1), other_user, model="demo:second", options={"temperature": 0.5})
    assert ChatMessage.objects.get(pk=replacement.pk).created_by == other_user
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:second", {"temperature": 0.5})
    edit(chat_id, message(chat_id, 1), user)
    row = chat_row(chat_id)
    assert (row["model"], row["options"]) == ("demo:second", {})  # the model stays; options are the turn's


# --- with other transitions in one transaction ------------------------------------------------------------------


def test_a_turn_that_was_edited_away_leaves_its_partial_answer_behind(user: Any) -> None:
    chat_id = chat_in(R0, user, history=(SAID,))
    with chat_update(chat_id) as update:
        transitions.commit_step(update, [ANSWER])
        transitions.edit_message(update, message_id=first_said(chat_id), parts=TEXT, author=user)
        transitions.commit_step(update, [ANSWER])
    assert history_of(chat_id) == [("user", "new"), ("assistant", "answer")]


def test_an_earlier_message_is_edited_after_a_later_one(user: Any) -> None:
    chat_id = chat_in(W, user, history=LONG)
    first, second = message(chat_id, 1), message(chat_id, 3)
    with chat_update(chat_id) as update:
        transitions.edit_message(update, message_id=second, parts=TEXT, author=user)
        transitions.edit_message(update, message_id=first, parts=TEXT, author=user)
    assert history_of(chat_id) == [("user", "new")]


@pytest.mark.parametrize("place", [1, 3], ids=["the same", "a later one"])
def test_a_message_that_an_edit_has_just_hidden_is_not_found_by_another(place: int, user: Any) -> None:
    chat_id = chat_in(W, user, history=LONG)
    first, other = message(chat_id, 1), message(chat_id, place)

    def twice(update: ChatUpdate) -> None:
        transitions.edit_message(update, message_id=first, parts=TEXT, author=user)
        transitions.edit_message(update, message_id=other, parts=TEXT, author=user)

    refused(chat_id, MessageNotFound, twice)


def test_what_is_sent_after_an_edit_waits_its_turn(user: Any) -> None:
    chat_id = chat_in(R1, user, history=LONG)
    with chat_update(chat_id) as update:
        transitions.edit_message(update, message_id=first_said(chat_id), parts=TEXT, author=user)
        send("queue")(update, user)
    assert (history_of(chat_id), queue_of(chat_id)) == ([("user", "new")], ["new"])
