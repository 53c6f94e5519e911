"""What the next step of a turn is, as a table."""

from typing import Any

import pytest

from chatworker.plan import MAX_STEPS_PER_TURN, Plan, decide, steps_in_turn

TEXT = {"type": "text", "text": "hi"}
USER = ("user", [TEXT])
ANSWER = ("assistant", [TEXT])


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_call", "tool_call_id": name, "tool_name": "t", "args": {}, **more}


def result(name: str, **more: Any) -> tuple[str, list[dict[str, Any]]]:
    return "tool", [{"type": "tool_result", "tool_call_id": name, "tool_name": "t", "output": "", **more}]


CALLS = ("assistant", [call("a"), call("b")])
NATIVE = call("n", provider_executed=True)


@pytest.mark.parametrize(
    ("history", "plan"),
    [
        ([USER], Plan("generate")),
        ([USER, ANSWER], Plan("finish_turn")),
        ([USER, ANSWER, USER], Plan("generate")),
        ([USER, CALLS], Plan("execute_tools", (call("a"), call("b")))),
        ([USER, CALLS, result("b")], Plan("execute_tools", (call("a"),))),
        ([USER, CALLS, result("b"), result("a")], Plan("generate")),
        ([USER, CALLS, result("a", is_error=True), result("b", synthetic=True)], Plan("generate")),
        ([USER, CALLS, result("a"), result("b"), ANSWER], Plan("finish_turn")),
        ([USER, ("assistant", [NATIVE, TEXT])], Plan("finish_turn")),
        ([USER, ("assistant", [NATIVE, call("a")])], Plan("execute_tools", (call("a"),))),
        ([USER, ("assistant", [])], Plan("finish_turn")),
        ([("system", [TEXT]), USER], Plan("generate")),
    ],
)
def test_the_next_step_follows_from_the_history(history: list[Any], plan: Plan) -> None:
    assert decide(history) == plan


def test_a_model_that_talks_to_itself_is_stopped() -> None:
    step = [("assistant", [call("a")]), result("a")]
    assert decide([USER, *step * (MAX_STEPS_PER_TURN - 1)]) == Plan("generate")
    assert decide([USER, *step * MAX_STEPS_PER_TURN]) == Plan("give_up")
    assert decide([USER, *step * MAX_STEPS_PER_TURN, USER]) == Plan("generate")


def test_its_last_answer_still_counts_and_its_last_calls_are_still_executed() -> None:
    step = [("assistant", [call("a")]), result("a")]
    assert decide([USER, *step * MAX_STEPS_PER_TURN, ANSWER]) == Plan("finish_turn")
    assert decide([USER, *step * MAX_STEPS_PER_TURN, CALLS]).action == "execute_tools"


def test_steps_are_counted_from_the_last_user_message() -> None:
    assert steps_in_turn([]) == 0
    assert steps_in_turn([ANSWER, USER]) == 0
    assert steps_in_turn([ANSWER, USER, CALLS, result("a"), ANSWER]) == 2
