"""How each transition is called in the tests, and what its refusal must leave behind: nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from chat import transitions
from chat.execution import State, Transition, classify
from chat.models import ChatMessage
from chat.transitions import NewMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import ANSWERED, CLIENT_CALL, SAID, SERVER_CALL, chat_row, photograph, queue_of

NEW_WORKER, NEW_RUNNER = UUID(int=11), UUID(int=12)
TEXT = [{"type": "text", "text": "new"}]
ANSWER = NewMessage("assistant", [{"type": "text", "text": "answer"}], model="demo:demo", usage={"output_tokens": 3})
BOUNDARY = NewMessage("user", [{"type": "text", "text": "in short"}], visibility="model", compressed=True)


def said(text: str, role: str = "user") -> NewMessage:
    return NewMessage(role, [{"type": "text", "text": text}])


def result_for(call: dict[str, Any], output: str = "found") -> NewMessage:
    part = {"type": "tool_result", "tool_call_id": call["tool_call_id"], "tool_name": call["tool_name"]}
    return NewMessage("tool", [part | {"output": output, "is_error": False, "synthetic": False}])


RESULTS = [result_for(SERVER_CALL), result_for(CLIENT_CALL)]

CALLING_AGAIN = NewMessage("assistant", [SERVER_CALL | {"tool_call_id": "s2"}])

Do = Callable[[ChatUpdate, Any], Any]
"""What is done in the block of an open update, by a user."""


@dataclass(frozen=True)
class Call:
    """`chat`: how the chat is made (arguments of `chat_in`) where the usual one, with two open calls, will not do."""

    transition: Transition
    do: Do
    chat: dict[str, Any] = field(default_factory=dict)


def send(behavior: str) -> Do:
    return lambda update, user: transitions.send_message(update, parts=TEXT, author=user, busy_behavior=behavior)


def first_said(chat_id: UUID) -> int:
    return ChatMessage.objects.filter(chat_id=chat_id, role="user", deleted=False).earliest("id").pk


def queued_at(update: ChatUpdate, place: int) -> int:
    """The id of the queued message there, 1 for the head; of none if the queue is shorter."""
    rows = list(update.queue)
    return rows[place - 1].pk if place <= len(rows) else 0


def _create(update: ChatUpdate, _: Any) -> None:
    with update.moving(Transition.CREATE):
        raise AssertionError("the table lets an existing chat be created")


T = Transition
CALLS: dict[str, Call] = {
    "create": Call(T.CREATE, _create),
    "send_message_queue": Call(T.SEND_MESSAGE_QUEUE, send("queue")),
    "send_message_steer": Call(T.SEND_MESSAGE_QUEUE, send("steer")),
    "send_message_interrupt": Call(T.SEND_MESSAGE_INTERRUPT, send("interrupt")),
    "edit_message": Call(
        T.EDIT_MESSAGE,
        lambda update, user: transitions.edit_message(
            update, message_id=first_said(update.chat.pk), parts=TEXT, author=user
        ),
    ),
    "update_queued_message": Call(
        T.UPDATE_QUEUED_MESSAGE,
        lambda update, _: transitions.update_queued_message(update, queued_id=queued_at(update, 1), parts=TEXT),
    ),
    "delete_queued_message": Call(
        T.DELETE_QUEUED_MESSAGE,
        lambda update, _: transitions.delete_queued_message(update, queued_id=queued_at(update, 1)),
    ),
    "promote_queued_message": Call(
        T.PROMOTE_QUEUED_MESSAGE,
        lambda update, _: transitions.promote_queued_message(update, queued_id=queued_at(update, 1)),
    ),
    "interrupt": Call(T.INTERRUPT, lambda update, _: transitions.interrupt(update)),
    "request_compaction": Call(T.REQUEST_COMPACTION, lambda update, _: transitions.request_compaction(update)),
    "clear_context": Call(T.CLEAR_CONTEXT, lambda update, _: transitions.clear_context(update, [BOUNDARY])),
    "record_generation_attempt": Call(
        T.RECORD_GENERATION_ATTEMPT, lambda update, _: transitions.record_generation_attempt(update)
    ),
    "record_retry_state": Call(
        T.RECORD_RETRY_STATE, lambda update, _: transitions.record_retry_state(update, {"attempt": 3})
    ),
    "commit_step": Call(T.COMMIT_STEP, lambda update, _: transitions.commit_step(update, RESULTS)),
    "absorb_steering": Call(
        T.ABSORB_STEERING,
        lambda update, _: transitions.absorb_steering(update),
        {"history": (SAID, ANSWERED), "steering": (1,)},
    ),
    "enter_requires_action": Call(T.ENTER_REQUIRES_ACTION, lambda update, _: transitions.enter_requires_action(update)),
    "complete_requires_action": Call(
        T.COMPLETE_REQUIRES_ACTION,
        lambda update, _: transitions.complete_requires_action(update, [{"tool_call_id": "c1", "output": "yes"}]),
    ),
    "cancel_requires_action": Call(
        T.CANCEL_REQUIRES_ACTION, lambda update, _: transitions.cancel_requires_action(update)
    ),
    "finish_turn": Call(T.FINISH_TURN, lambda update, _: transitions.finish_turn(update)),
    "finish_error": Call(T.FINISH_ERROR, lambda update, _: transitions.finish_error(update, {"message": "worse"})),
    "finish_interruption": Call(
        T.FINISH_INTERRUPTION, lambda update, _: transitions.finish_interruption(update, [*RESULTS, ANSWER])
    ),
    "set_archived_true": Call(T.SET_ARCHIVED_TRUE, lambda update, _: transitions.set_archived(update, archived=True)),
    "set_archived_false": Call(
        T.SET_ARCHIVED_FALSE, lambda update, _: transitions.set_archived(update, archived=False)
    ),
    "reconcile_invalid_state": Call(
        T.RECONCILE_INVALID_STATE, lambda update, _: transitions.reconcile_invalid_state(update)
    ),
    "acquire": Call(
        T.ACQUIRE, lambda update, _: transitions.acquire(update, worker_id=NEW_WORKER, runner_id=NEW_RUNNER)
    ),
    "abandon": Call(T.ABANDON, lambda update, _: transitions.abandon(update)),
}


def state_of(chat_id: UUID) -> State:
    row = chat_row(chat_id)
    return classify(row["status"], row["archived"], len(queue_of(chat_id)))


def refused(chat_id: UUID, refusal: type[Exception], do: Callable[[ChatUpdate], Any]) -> Any:
    """`do` is refused with exactly `refusal`; no row of any chat changed, and nothing is to be published."""
    before, to_publish = photograph(), list(connection.run_on_commit)
    with pytest.raises(refusal) as caught, chat_update(chat_id) as update:
        do(update)
    assert type(caught.value) is refusal
    assert photograph() == before
    assert connection.run_on_commit == to_publish
    return caught.value
