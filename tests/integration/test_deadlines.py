"""Clients that do not answer in time: their calls get an error and the chat goes on, exactly once."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from chat import transitions
from chat.execution import State
from chat.models import Chat
from chat.update import chat_update
from chatworker import deadlines
from chatworker.deadlines import cancel_expired_actions
from tests.factories import CLIENT_CALL, SAID, chat_in, chat_row, history_of

pytestmark = pytest.mark.django_db(transaction=True)
ASKING = (SAID, ("assistant", [CLIENT_CALL]))


@pytest.fixture(autouse=True)
def told(published: list[Any]) -> list[Any]:
    return published


def asking(owner: Any, seconds_left: float, state: State = State.A0) -> UUID:
    chat_id = chat_in(state, owner, history=ASKING, owned=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE chat_chat SET requires_action_deadline_at = now() + %s * interval '1 second' WHERE id = %s",
            [seconds_left, chat_id],
        )
    return chat_id


@pytest.mark.parametrize(("state", "afterwards"), [(State.A0, "running"), (State.A1, "running")])
def test_a_call_whose_deadline_passed_times_out_and_the_chat_wakes_a_worker(
    state: State, afterwards: str, user: Any, told: list[Any]
) -> None:
    chat_id = asking(user, -1, state)
    assert cancel_expired_actions() == 1
    assert history_of(chat_id)[-1] == ("tool", "c1!=timed out")
    row = chat_row(chat_id)
    assert (row["status"], row["requires_action_deadline_at"]) == (afterwards, None)
    assert ("wake-up", chat_id) in told


def test_a_call_that_still_has_time_is_left_alone(user: Any) -> None:
    chat_id = asking(user, 60)
    before = chat_row(chat_id)
    assert cancel_expired_actions() == 0
    assert chat_row(chat_id) == before


def test_a_second_run_finds_nothing(user: Any) -> None:
    asking(user, -1)
    assert (cancel_expired_actions(), cancel_expired_actions()) == (1, 0)


def _answer(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.complete_requires_action(update, [{"tool_call_id": "c1", "output": "yes"}])


def _answer_and_ask_again(chat_id: UUID) -> None:
    _answer(chat_id)
    with chat_update(chat_id) as update:
        transitions.commit_step(update, [transitions.NewMessage("assistant", [CLIENT_CALL | {"tool_call_id": "c2"}])])
        transitions.enter_requires_action(update)


def _delete(chat_id: UUID) -> None:
    Chat.objects.filter(pk=chat_id).delete()


@pytest.mark.parametrize("meanwhile", [_answer, _answer_and_ask_again, _delete])
def test_a_client_that_answers_between_the_reading_and_the_lock_wins(
    meanwhile: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = asking(user, -1)
    after: list[Any] = []

    def too_late(known: UUID) -> Any:
        meanwhile(known)
        after.append(Chat.objects.filter(pk=known).values().first())
        return chat_update(known)

    monkeypatch.setattr(deadlines, "chat_update", too_late)
    assert cancel_expired_actions() == 0
    assert Chat.objects.filter(pk=chat_id).values().first() == after[0]


def test_one_chat_that_is_gone_does_not_stop_the_others(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, there = asking(user, -2), asking(user, -1)

    def delete_first(known: UUID) -> Any:
        Chat.objects.filter(pk=gone).delete()
        return chat_update(known)

    monkeypatch.setattr(deadlines, "chat_update", delete_first)
    assert cancel_expired_actions() == 1
    assert chat_row(there)["status"] == "running"
