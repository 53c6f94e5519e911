"""A turn over HTTP: stopped, answered by its client, put right."""

from typing import Any

import pytest

from chat.execution import State
from tests.api_client import CHATS, Api, api_of
from tests.factories import CALLING, CLIENT_CALL, LIVE_STATES, SAID, chat_in, history_of, photograph

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]
RESULT = {"tool_call_id": "c1", "output": {"chosen": 3}}
STOPPED = {
    State.R0: "I0",
    State.R1: "I1",
    State.A0: "R0",
    State.A1: "R1",
}
"""Where an interrupt leads while a worker has the chat."""


@pytest.fixture
def api(user: Any) -> Api:
    return api_of(user)


# --- stopped ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", LIVE_STATES)
def test_an_interrupt_is_for_what_is_under_way(api: Api, user: Any, state: State) -> None:
    chat_id = chat_in(state, user)
    before = photograph()
    status, answer = api.post(f"{CHATS}/{chat_id}/interrupt")
    if state in STOPPED:
        assert (status, answer["id"], answer["state"]) == (200, str(chat_id), STOPPED[state])
    else:
        assert (status, answer["state"], answer["transition"]) == (409, str(state), "interrupt")
        assert photograph() == before


def test_without_a_worker_a_chat_has_stopped_when_the_interrupt_is_answered(api: Api) -> None:
    chat = api.post(CHATS, {"message": {"text": "hello"}})[1]
    assert api.post(f"{CHATS}/{chat['id']}/interrupt")[1]["state"] == "W"
    assert api.post(f"{CHATS}/{chat['id']}/interrupt")[0] == 409


# --- answered by its client ------------------------------------------------------------------------------------------


def test_the_results_of_the_client_let_the_turn_go_on(api: Api, user: Any) -> None:
    chat_id = chat_in(State.A0, user)
    status, chat = api.post(f"{CHATS}/{chat_id}/tool-results", {"results": [RESULT]})
    assert (status, chat["state"], chat["requires_action"]) == (200, "R0", None)
    [message] = [one for one in api.get(f"{CHATS}/{chat_id}/messages")[1]["items"] if one["role"] == "tool"]
    assert message["parts"] == [
        {"type": "tool_result", "tool_name": "ask", "is_error": False, "synthetic": False, **RESULT}
    ]


@pytest.mark.parametrize("output", [None, "", "text", 0, -1.5, False, [], {}, [{"a": None}], "é😀"])
def test_an_output_may_be_any_json(api: Api, user: Any, output: Any) -> None:
    chat_id = chat_in(State.A1, user)
    result = {"tool_call_id": "c1", "output": output, "is_error": True}
    assert api.post(f"{CHATS}/{chat_id}/tool-results", {"results": [result]})[1]["state"] == "R1"
    part = api.get(f"{CHATS}/{chat_id}/messages")[1]["items"][-1]["parts"][0]
    assert (part["output"], part["is_error"]) == (output, True)


def test_an_error_says_which_results_are_wrong(api: Api, user: Any) -> None:
    two = {**CLIENT_CALL, "tool_call_id": "c2"}
    chat_id = chat_in(State.A0, user, history=(SAID, ("assistant", [CLIENT_CALL, two])))
    before = photograph()

    def refused(*results: dict[str, Any]) -> dict[str, Any]:
        status, problem = api.post(f"{CHATS}/{chat_id}/tool-results", {"results": list(results)})
        assert (status, problem["code"]) == (422, "invalid")
        assert photograph() == before
        return dict(problem)

    other, unknown = RESULT | {"tool_call_id": "c2"}, RESULT | {"tool_call_id": "c3"}
    assert refused(RESULT)["missing"] == ["c2"]
    assert refused()["missing"] == ["c1", "c2"]
    assert refused(RESULT, other, unknown)["unexpected"] == ["c3"]
    assert refused(RESULT, RESULT, other)["tool_call_id"] == "c1"
    assert refused({**RESULT, "tool_call_id": "\x00"})["unexpected"] == ["\x00"]
    assert refused({**RESULT, "tool_call_id": "\ud83d"})["unexpected"] == ["\ud83d"]
    assert api.get(f"{CHATS}/{chat_id}")[1]["requires_action"]["deadline_at"] == "2026-01-02T03:04:05Z"


def test_a_call_of_ours_is_not_the_clients_to_answer(api: Api, user: Any) -> None:
    chat_id = chat_in(State.A0, user, history=(SAID, CALLING))
    ours = {"tool_call_id": "s1", "output": "found"}
    assert api.post(f"{CHATS}/{chat_id}/tool-results", {"results": [RESULT, ours]})[1]["unexpected"] == ["s1"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"results": None},
        {"results": {}},
        {"results": "c1"},
        {"results": [None]},
        {"results": [[]]},
        {"results": [{}]},
        {"results": [{"tool_call_id": "c1"}]},
        {"results": [{"output": 1}]},
        {"results": [RESULT | {"tool_call_id": 1}]},
        {"results": [RESULT | {"is_error": "no"}]},
        {"results": [RESULT | {"is_error": None}]},
        {"results": [RESULT | {"synthetic": True}]},
        {"results": [RESULT | {"output": "\x00"}]},
        {"results": [RESULT | {"output": "\ud83d"}]},
        {"results": [RESULT | {"output": {"\x00": 1}}]},
        {"results": [RESULT | {"output": float("nan")}]},
        {"results": [RESULT | {"output": [float("-inf")]}]},
        {"results": [RESULT | {"output": "x" * 1_000_001}]},
        {"results": [RESULT], "more": 1},
    ],
    ids=lambda body: ascii(body)[:60],
)
def test_results_of_another_form_are_refused_and_the_chat_waits_on(api: Api, user: Any, body: Any) -> None:
    chat_id = chat_in(State.A0, user)
    before = photograph()
    status, problem = api.post(f"{CHATS}/{chat_id}/tool-results", body)
    assert (status, problem["code"]) == (422, "invalid")
    assert photograph() == before


@pytest.mark.parametrize("depth", [10, 100, 150, 200, 250, 300, 400, 600, 900, 5000])
def test_no_output_is_too_deep_for_an_answer(api: Api, user: Any, depth: int) -> None:
    chat_id = chat_in(State.A0, user)
    for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        raw = '{"results": [{"tool_call_id": "c1", "output": ' + deep + "}]}"
        status, answer = api.post(f"{CHATS}/{chat_id}/tool-results", raw=raw)
        if status == 200:
            assert api.get(f"{CHATS}/{chat_id}/messages")[0] == 200
            chat_id = chat_in(State.A0, user)
        else:
            assert answer["code"] == "invalid"
            assert depth > 100


@pytest.mark.parametrize("number", [10**300, -(10**4000), 1e308, 5e-324, 2**64])
def test_no_output_is_too_large_a_number(api: Api, user: Any, number: Any) -> None:
    chat_id = chat_in(State.A0, user)
    status, _ = api.post(f"{CHATS}/{chat_id}/tool-results", {"results": [RESULT | {"output": number}]})
    assert status in (200, 422)
    assert api.get(f"{CHATS}/{chat_id}/messages")[0] == 200


@pytest.mark.parametrize("state", [state for state in LIVE_STATES if state not in (State.A0, State.A1)])
def test_results_that_nobody_waits_for_are_a_conflict(api: Api, user: Any, state: State) -> None:
    chat_id = chat_in(state, user)
    before = photograph()
    status, problem = api.post(f"{CHATS}/{chat_id}/tool-results", {"results": [RESULT]})
    assert (status, problem["state"]) == (409, str(state))
    assert photograph() == before


# --- put right -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", LIVE_STATES)
def test_only_an_invalid_state_is_put_right(api: Api, user: Any, state: State) -> None:
    chat_id = chat_in(state, user)
    before = photograph()
    status, answer = api.post(f"{CHATS}/{chat_id}/reconcile-invalid")
    if state is State.INVALID:
        assert (status, answer["state"], answer["archived"]) == (200, "E0", False)
        assert answer["last_error"]["kind"] == "generic"
        assert history_of(chat_id)[-1] == ("tool", "c1!=canceled due to invalid chat state")
    else:
        assert (status, answer["state"]) == (409, str(state))
        assert photograph() == before
