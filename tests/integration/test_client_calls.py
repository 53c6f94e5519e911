"""Waiting for a client's tools: how long, what answers them, and what leaves the chat waiting as it was."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from chat import content, transitions
from chat.errors import (
    ChatRefusal,
    HistoryNotWellFormed,
    MessageInvalid,
    NoClientCalls,
    ToolResultDuplicate,
    ToolResultInvalid,
    ToolResultMissing,
    ToolResultUnexpected,
    TransitionNotAllowed,
)
from chat.execution import State
from chat.models import ChatMessage
from chat.transitions import NewMessage
from chat.update import ChatUpdate, chat_update
from tests.factories import ANSWERED, CLIENT_CALL, SAID, SERVER_CALL, SOME_DAY, chat_in, chat_row, history_of
from tests.transition_calls import ANSWER, RESULTS, refused, result_for, said, state_of

pytestmark = pytest.mark.django_db

R0, R1, A0, A1 = (State(name) for name in ("R0", "R1", "A0", "A1"))
PICK = {"type": "tool_call", "tool_call_id": "c2", "tool_name": "pick", "args": {}}
TOOLS = [{"name": "ask"}, {"name": "pick"}]
CALLING = ("assistant", [CLIENT_CALL, SERVER_CALL, PICK])
"""A call for the client, one for the server, and another one for the client."""
WAITS = {"history": (SAID, CALLING), "client_tools": TOOLS}


def waited(chat_id: UUID) -> float:
    """Seconds from the database's now to the deadline that the chat gets."""

    def now() -> datetime:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            time: datetime = cursor.fetchone()[0]
            return time

    before = now()
    with chat_update(chat_id) as update:
        transitions.enter_requires_action(update)
    after, deadline = now(), chat_row(chat_id)["requires_action_deadline_at"]
    assert update.chat.requires_action_deadline_at == deadline
    seconds = round((deadline - before).total_seconds())
    assert before + timedelta(seconds=seconds) <= deadline <= after + timedelta(seconds=seconds)
    return seconds


# --- the wait begins --------------------------------------------------------------------------------------------

TIMES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "no tool says": ([{"name": "ask"}, {"name": "pick"}], 300),
    "one says less than the default": ([{"name": "ask", "timeout_s": 30}, {"name": "pick"}], 300),
    "one says more": ([{"name": "ask", "timeout_s": 900}, {"name": "pick"}], 900),
    "all say less": ([{"name": "ask", "timeout_s": 30}, {"name": "pick", "timeout_s": 60}], 60),
    "one that is not called says more": ([{"name": "ask"}, {"name": "other", "timeout_s": 900}], 300),
    "the server's call is nobody's": ([{"name": "pick", "timeout_s": 60}], 60),
    "null is as good as nothing": ([{"name": "ask", "timeout_s": None}], 300),
}


@pytest.mark.parametrize("tools", list(TIMES))
@pytest.mark.parametrize("state", [R0, R1])
def test_the_deadline_is_the_databases_now_and_the_longest_time_of_the_waiting_tools(
    state: State, tools: str, user: Any
) -> None:
    client_tools, seconds = TIMES[tools]
    assert waited(chat_in(state, user, history=(SAID, CALLING), client_tools=client_tools)) == seconds


def test_the_default_time_is_a_setting(user: Any, settings: Any) -> None:
    settings.CHATD_REQUIRES_ACTION_TIMEOUT = 77.0
    assert waited(chat_in(R0, user)) == 77


def test_a_tool_that_was_answered_already_gets_no_time(user: Any) -> None:
    tools = [{"name": "ask", "timeout_s": 900}, {"name": "pick", "timeout_s": 60}]
    history = (SAID, CALLING, ("tool", RESULTS[1].parts))
    assert waited(chat_in(R0, user, history=history, client_tools=tools)) == 60


NO_CLIENT_CALLS: dict[str, Sequence[tuple[str, list[Any]]]] = {
    "no call": (SAID, ANSWERED),
    "the server's alone": (SAID, ("assistant", [SERVER_CALL])),
    "answered": (SAID, ("assistant", [CLIENT_CALL]), ("tool", RESULTS[1].parts)),
    "of an earlier answer": (SAID, ("assistant", [CLIENT_CALL]), ANSWERED),
    "executed by the provider": (SAID, ("assistant", [CLIENT_CALL | {"provider_executed": True}])),
}


@pytest.mark.parametrize("history", list(NO_CLIENT_CALLS))
@pytest.mark.parametrize("state", [R0, R1])
def test_nobody_waits_for_a_client_that_has_nothing_to_do(state: State, history: str, user: Any) -> None:
    chat_id = chat_in(state, user, history=NO_CLIENT_CALLS[history])
    refused(chat_id, NoClientCalls, transitions.enter_requires_action)


def test_a_chat_without_client_tools_waits_for_nobody(user: Any) -> None:
    refused(chat_in(R0, user, client_tools=[]), NoClientCalls, transitions.enter_requires_action)


# --- the client answers -----------------------------------------------------------------------------------------


def ok(call_id: str, output: Any = "yes") -> dict[str, Any]:
    return {"tool_call_id": call_id, "output": output}


BOTH = [ok("c1"), ok("c2")]
WRONG: dict[str, tuple[Any, type[ChatRefusal], dict[str, Any]]] = {
    "none": ([], ToolResultMissing, {"missing": ["c1", "c2"]}),
    "one missing": ([ok("c2")], ToolResultMissing, {"missing": ["c1"]}),
    "the server's instead": (
        [ok("c1"), ok("s1")], ToolResultUnexpected, {"unexpected": ["s1"], "expected": ["c1", "c2"]},
    ),
    "the server's as well": ([*BOTH, ok("s1")], ToolResultUnexpected, {"unexpected": ["s1"], "expected": ["c1", "c2"]}),
    "nobody's": ([*BOTH, ok("c9")], ToolResultUnexpected, {"unexpected": ["c9"], "expected": ["c1", "c2"]}),
    "one twice": ([*BOTH, ok("c1", "no")], ToolResultDuplicate, {"tool_call_id": "c1"}),
    "one twice, the other missing": ([ok("c1"), ok("c1")], ToolResultDuplicate, {"tool_call_id": "c1"}),
    "without an id": ([ok("c1"), {"output": "yes"}], ToolResultInvalid, {}),
    "without an output": ([ok("c1"), {"tool_call_id": "c2"}], ToolResultInvalid, {}),
    "something besides": ([ok("c1"), ok("c2") | {"note": "hm"}], ToolResultInvalid, {}),
    "an id that is a number": ([ok("c1"), {"tool_call_id": 2, "output": 1}], ToolResultInvalid, {}),
    "a word for a truth": ([ok("c1"), ok("c2") | {"is_error": "yes"}], ToolResultInvalid, {}),
    "not objects": (["c1", "c2"], ToolResultInvalid, {}),
    "NaN": ([ok("c1"), ok("c2", float("nan"))], ToolResultInvalid, {}),
    "infinity, deep inside": ([ok("c1"), ok("c2", {"a": [float("-inf")]})], ToolResultInvalid, {}),
    "NUL": ([ok("c1"), ok("c2", "a\x00b")], ToolResultInvalid, {"tool_call_id": "c2"}),
    "NUL in a name": ([ok("c1"), ok("c2", {"a\x00b": 1})], ToolResultInvalid, {"tool_call_id": "c2"}),
    "half a surrogate pair": ([ok("c1"), ok("c2", ["\ud83d"])], ToolResultInvalid, {"tool_call_id": "c2"}),
    "too long": ([ok("c1"), ok("c2", "x" * content.MAX_TEXT)], ToolResultInvalid, {"tool_call_id": "c2"}),
}  # fmt: skip


@pytest.mark.parametrize("results", list(WRONG))
@pytest.mark.parametrize("state", [A0, A1])
def test_results_that_do_not_answer_the_calls_leave_the_chat_waiting_as_it_was(
    state: State, results: str, user: Any
) -> None:
    given, refusal, details = WRONG[results]
    chat_id = chat_in(state, user, **WAITS)
    error = refused(chat_id, refusal, lambda update: transitions.complete_requires_action(update, given))
    assert error.details == details
    row = chat_row(chat_id)
    assert (row["status"], row["requires_action_deadline_at"]) == ("requires_action", SOME_DAY)


def complete(chat_id: UUID, results: Sequence[dict[str, Any]], **more: Any) -> list[ChatMessage]:
    with chat_update(chat_id) as update:
        return transitions.complete_requires_action(update, results, **more)


@pytest.mark.parametrize("state", [A0, A1])
def test_results_enter_the_history_in_the_order_of_the_calls_one_message_each(state: State, user: Any) -> None:
    chat_id = chat_in(state, user, **WAITS)
    added = complete(chat_id, [ok("c2", 2), ok("c1", 1) | {"is_error": True}])
    rows = list(ChatMessage.objects.filter(chat_id=chat_id, role="tool").order_by("id"))
    assert rows == added
    assert [row.parts for row in rows] == [
        [{"type": "tool_result", "tool_call_id": "c1", "tool_name": "ask", "output": 1, "is_error": True,
          "synthetic": False}],
        [{"type": "tool_result", "tool_call_id": "c2", "tool_name": "pick", "output": 2, "is_error": False,
          "synthetic": False}],
    ]  # fmt: skip
    assert {(row.visibility, row.revision, row.created_by_id) for row in rows} == {("both", 8, None)}
    assert state_of(chat_id) is (R1 if state is A1 else R0)
    assert chat_row(chat_id)["requires_action_deadline_at"] is None


OUTPUTS = [
    None, True, False, 0, -1, 1.5, 2**53 + 1, 10**400, "", "text", " \n", "ä€😀", "\\u0000", [], {}, [None, [[]]],
    {"": {"a": [1, {"b": None}]}}, {"is_error": True}, "x" * (content.MAX_TEXT - 2),
]  # fmt: skip


def test_an_output_is_any_json_and_comes_back_as_it_was(user: Any) -> None:
    calls = [CLIENT_CALL | {"tool_call_id": f"c{i}"} for i in range(len(OUTPUTS))]
    chat_id = chat_in(A0, user, history=(SAID, ("assistant", calls)))
    complete(chat_id, [ok(f"c{i}", output) for i, output in enumerate(OUTPUTS)])
    rows = ChatMessage.objects.filter(chat_id=chat_id, role="tool").order_by("id")
    back = [row.parts[0]["output"] for row in rows]
    assert back == OUTPUTS
    assert [type(output) for output in back] == [type(output) for output in OUTPUTS]  # 0 is not False


def test_calls_of_the_server_stay_open_until_the_turn_goes_on(user: Any) -> None:
    chat_id = chat_in(A0, user, **WAITS)
    complete(chat_id, BOTH)
    with chat_update(chat_id) as update:
        assert [call["tool_call_id"] for call in update.history.outstanding_calls()] == ["s1"]
        transitions.commit_step(update, [RESULTS[0], ANSWER])
    assert [words for _, words in history_of(chat_id)[2:]] == ["c1=yes", "c2=yes", "s1=found", "answer"]


def test_a_suffix_follows_the_results_at_once(user: Any) -> None:
    chat_id = chat_in(A0, user, **WAITS)
    hint = NewMessage("user", said("be quick").parts, visibility="model")
    complete(chat_id, BOTH, suffix=[result_for(SERVER_CALL), hint])
    assert [words for _, words in history_of(chat_id)[2:]] == ["c1=yes", "c2=yes", "s1=found", "be quick"]
    assert ChatMessage.objects.filter(chat_id=chat_id).latest("id").visibility == "model"


@pytest.mark.parametrize(
    ("suffix", "refusal"),
    [
        ([said("be quick")], HistoryNotWellFormed),
        ([RESULTS[1]], HistoryNotWellFormed),
        ([NewMessage("tool", [])], MessageInvalid),
    ],
    ids=["while the server's call is open", "a second result", "no part"],
)
def test_a_suffix_that_would_spoil_the_history_leaves_the_chat_waiting(
    suffix: list[NewMessage], refusal: type[ChatRefusal], user: Any
) -> None:
    chat_id = chat_in(A0, user, **WAITS)
    refused(
        chat_id,
        refusal,
        lambda update: transitions.complete_requires_action(update, BOTH, suffix=suffix),
    )


# --- nobody waits any longer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "timed out"),
        ({"reason": content.TIMED_OUT}, "timed out"),
        ({"reason": content.INTERRUPTED_BY_USER}, "interrupted by user"),
        ({"reason": content.WORKER_LOST}, "worker lost, outcome unknown"),
        ({"reason": content.INVALID_STATE}, "canceled due to invalid chat state"),
    ],
)
@pytest.mark.parametrize("state", [A0, A1])
def test_a_canceled_wait_says_why_to_the_clients_calls_alone(
    state: State, arguments: dict[str, str], reason: str, user: Any
) -> None:
    chat_id = chat_in(state, user, **WAITS)
    with chat_update(chat_id) as update:
        transitions.cancel_requires_action(update, **arguments)
        assert [call["tool_call_id"] for call in update.history.outstanding_calls()] == ["s1"]
    assert history_of(chat_id)[2:] == [("tool", f"c1!={reason}"), ("tool", f"c2!={reason}")]
    assert state_of(chat_id) is (R1 if state is A1 else R0)


def test_a_result_that_came_too_late_is_refused(user: Any) -> None:
    chat_id = chat_in(A0, user, **WAITS)
    with chat_update(chat_id) as update:
        transitions.cancel_requires_action(update)

    def late(update: ChatUpdate) -> None:
        transitions.complete_requires_action(update, BOTH)

    refused(chat_id, TransitionNotAllowed, late)
