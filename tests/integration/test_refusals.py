"""What is refused although the state allows it: each refusal is its own class, and leaves everything as it was."""

from collections.abc import Sequence
from typing import Any

import pytest

from chat import transitions
from chat.errors import (
    BusyBehaviorUnknown,
    ChatRefusal,
    HistoryNotWellFormed,
    MessageInvalid,
    ModelUnknown,
    OptionsInvalid,
    QueueFull,
    TransitionNotAllowed,
)
from chat.execution import State
from chat.models import ChatMessage, ChatModel
from chat.transitions import NewMessage
from chat.update import chat_update
from tests.factories import LIVE_STATES, SAID, SERVER_CALL, VALID_STATES, chat_in, history_of, photograph, queue_of
from tests.transition_calls import ANSWER, CALLING_AGAIN, RESULTS, TEXT, refused, result_for, send

pytestmark = pytest.mark.django_db

W, E1, R0, R1, I0, I1, A1 = (State(name) for name in ("W", "E1", "R0", "R1", "I0", "I1", "A1"))

BAD_MESSAGES: dict[str, tuple[dict[str, Any], type[ChatRefusal]]] = {
    "nothing": ({"parts": []}, MessageInvalid),
    "blanks": ({"parts": [{"type": "text", "text": " \n"}]}, MessageInvalid),
    "NUL": ({"parts": [{"type": "text", "text": "a\x00b"}]}, MessageInvalid),
    "half a surrogate pair": ({"parts": [{"type": "text", "text": "\ud83d"}]}, MessageInvalid),
    "not a user's part": ({"parts": [{"type": "tool_call", "tool_call_id": "x", "tool_name": "y"}]}, MessageInvalid),
    "a part too many": ({"parts": TEXT * 101}, MessageInvalid),
    "a model that nobody knows": ({"model": "demo:nobody"}, ModelUnknown),
    "options that nobody knows": ({"options": {"heat": 1}}, OptionsInvalid),
    "options out of range": ({"options": {"temperature": 3}}, OptionsInvalid),
}
"""What no user may say, whether in a new chat, an old one, or otherwise than before."""


@pytest.mark.parametrize("message", list(BAD_MESSAGES))
def test_a_chat_that_cannot_begin_is_not_created(message: str, user: Any, published: list[Any]) -> None:
    arguments, refusal = BAD_MESSAGES[message]
    with pytest.raises(refusal):
        transitions.create_chat(**{"owner": user, "parts": TEXT} | arguments)
    assert photograph() == []
    assert published == []


def test_without_a_default_model_a_chat_must_name_one(user: Any) -> None:
    ChatModel.objects.update(is_default=False)
    with pytest.raises(ModelUnknown):
        transitions.create_chat(owner=user, parts=TEXT)
    assert photograph() == []
    assert transitions.create_chat(owner=user, parts=TEXT, model="demo:demo").model == "demo:demo"


def test_a_model_that_is_switched_off_is_unknown(user: Any) -> None:
    ChatModel.objects.update(enabled=False)
    send_it = {"parts": TEXT, "author": user, "model": "demo:demo"}
    refused(chat_in(W, user), ModelUnknown, lambda update: transitions.send_message(update, **send_it))


@pytest.mark.parametrize("message", [*BAD_MESSAGES, "a behaviour that nobody knows"])
def test_a_message_that_no_state_takes_is_refused_in_every_state(message: str, user: Any) -> None:
    arguments, refusal = BAD_MESSAGES.get(message, ({"busy_behavior": "shout"}, BusyBehaviorUnknown))
    for state in VALID_STATES:
        refused(
            chat_in(state, user),
            refusal,
            lambda update: transitions.send_message(update, **{"parts": TEXT, "author": user} | arguments),
        )


@pytest.mark.parametrize("behavior", ["queue", "steer", "interrupt"])
@pytest.mark.parametrize("state", [E1, R1, I1, A1])
def test_a_full_queue_takes_no_more_not_even_where_its_head_would_leave(state: State, behavior: str, user: Any) -> None:
    chat_id = chat_in(state, user, queued=20)
    error = refused(chat_id, QueueFull, lambda update: send(behavior)(update, user))
    assert error.details == {"limit": 20}


@pytest.mark.parametrize("state", [R1, I1, A1])
def test_the_last_free_place_of_the_queue_is_taken(state: State, user: Any, settings: Any) -> None:
    settings.CHATD_QUEUE_LIMIT = 3
    chat_id = chat_in(state, user, queued=2)
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    assert queue_of(chat_id) == ["queued 1", "queued 2", "new"]


STEPS: list[tuple[str, Sequence[NewMessage], type[ChatRefusal]]] = [
    ("no message", [], MessageInvalid),
    ("a message without a part", [NewMessage("assistant", [])], MessageInvalid),
    ("a result twice", [RESULTS[0], RESULTS[0]], HistoryNotWellFormed),
    ("a result twice in one message", [NewMessage("tool", RESULTS[0].parts * 2)], HistoryNotWellFormed),
    ("a result of no call", [result_for(SERVER_CALL | {"tool_call_id": "s9"})], HistoryNotWellFormed),
    ("a result of no call after a right one", [*RESULTS, RESULTS[1]], HistoryNotWellFormed),
    ("an answer before the results", [ANSWER], HistoryNotWellFormed),
    ("an answer before the last result", [RESULTS[0], ANSWER], HistoryNotWellFormed),
    ("an answer that leaves its own call open", [*RESULTS, CALLING_AGAIN, ANSWER], HistoryNotWellFormed),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "refusal"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
@pytest.mark.parametrize("state", [R0, R1])
def test_a_step_that_would_spoil_the_history_is_refused(
    state: State, messages: Sequence[NewMessage], refusal: type[ChatRefusal], user: Any
) -> None:
    refused(chat_in(state, user), refusal, lambda update: transitions.commit_step(update, messages))


@pytest.mark.parametrize("state", [I0, I1])
@pytest.mark.parametrize(
    "partial",
    [[], RESULTS[:1], [*RESULTS, CALLING_AGAIN]],
    ids=["both calls", "one of the calls", "a new call"],
)
def test_an_interruption_that_leaves_a_call_open_is_refused(
    state: State, partial: Sequence[NewMessage], user: Any
) -> None:
    chat_id = chat_in(state, user)
    refused(chat_id, HistoryNotWellFormed, lambda update: transitions.finish_interruption(update, partial))


@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_chat_that_nobody_owns_cannot_be_abandoned(state: State, user: Any) -> None:
    error = refused(chat_in(state, user, owned=False), TransitionNotAllowed, transitions.abandon)
    assert error.details == {"transition": "abandon", "state": str(state)}


# --- synthetic results ------------------------------------------------------------------------------------------


def test_a_call_that_the_provider_executed_is_never_outstanding(user: Any) -> None:
    calling = ("assistant", [{**SERVER_CALL, "provider_executed": True}])
    chat_id = chat_in(W, user, history=(SAID, calling))
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    assert history_of(chat_id)[2:] == [("user", "new")]


def test_a_result_given_earlier_is_not_given_again(user: Any) -> None:
    calling = ("assistant", [SERVER_CALL, SERVER_CALL | {"tool_call_id": "s2"}])
    chat_id = chat_in(W, user, history=(SAID, calling, ("tool", result_for(SERVER_CALL).parts)))
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    assert history_of(chat_id)[3:] == [("tool", "s2!=interrupted by new user message"), ("user", "new")]


def test_calls_of_an_earlier_answer_are_the_past(user: Any) -> None:
    chat_id = chat_in(W, user, history=(SAID, ("assistant", [SERVER_CALL]), ("assistant", TEXT)))
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    assert history_of(chat_id)[3:] == [("user", "new")]


def test_a_synthetic_result_says_what_it_is_and_everyone_sees_it(user: Any) -> None:
    chat_id = chat_in(W, user)
    with chat_update(chat_id) as update:
        send("queue")(update, user)
    message = ChatMessage.objects.filter(chat_id=chat_id, role="tool").earliest("id")
    assert (message.visibility, message.compressed, message.created_by) == ("both", False, None)
    assert message.parts == [
        {
            "type": "tool_result",
            "tool_call_id": "s1",
            "tool_name": "search",
            "output": "interrupted by new user message",
            "is_error": True,
            "synthetic": True,
        }
    ]
