"""Options and results as clients send them: what is taken, in which form, and what is refused in which words."""

from typing import Any

import pytest

from chat.content import MAX_TEXT
from chat.errors import (
    ChatRefusal,
    OptionsInvalid,
    ToolResultDuplicate,
    ToolResultInvalid,
    ToolResultMissing,
    ToolResultUnexpected,
)
from chat.inputs import answered_calls, generation_options

FULL = {
    "temperature": 0.5,
    "top_p": 1.0,
    "max_tokens": 100,
    "seed": -7,
    "presence_penalty": -2.0,
    "frequency_penalty": 2.0,
}

# --- options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        (None, {}),
        ({}, {}),
        ({"seed": None}, {}),
        ({"seed": 1, "temperature": None}, {"seed": 1}),
        ({"temperature": 0}, {"temperature": 0}),
        (FULL, FULL),
    ],
)
def test_options_are_taken_without_what_is_left_out(options: dict[str, Any] | None, taken: dict[str, Any]) -> None:
    assert generation_options(options) == taken


LIMITS = {
    "temperature": (0, 2, 0.01),
    "top_p": (0, 1, 0.01),
    "max_tokens": (1, 1_000_000, 1),
    "seed": (-(2**31), 2**31 - 1, 1),
    "presence_penalty": (-2, 2, 0.01),
    "frequency_penalty": (-2, 2, 0.01),
}


@pytest.mark.parametrize("name", list(LIMITS))
def test_every_option_has_a_least_and_a_largest_value(name: str) -> None:
    least, most, step = LIMITS[name]
    assert generation_options({name: least}) == {name: least}
    assert generation_options({name: most}) == {name: most}
    for beyond in (least - step, most + step):
        with pytest.raises(OptionsInvalid, match=rf"^options\.{name}: "):
            generation_options({name: beyond})


def test_the_limits_name_every_option() -> None:
    assert LIMITS.keys() == FULL.keys()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"heat": 1}, "options.heat"),
        ({"temperature": float("nan")}, "options.temperature"),
        ({"temperature": float("inf")}, "options.temperature"),
        ({"temperature": "warm"}, "options.temperature"),
        ({"max_tokens": 1.5}, "options.max_tokens"),
        ({"seed": [1]}, "options.seed"),
        ({1: 2}, "options.1"),
    ],
    ids=str,
)
def test_options_of_another_form_are_refused_with_the_place(options: dict[Any, Any], where: str) -> None:
    given = dict(options)
    with pytest.raises(OptionsInvalid) as refusal:
        generation_options(options)
    assert refusal.value.detail.startswith(f"{where}: ")
    assert (refusal.value.status, refusal.value.code, options) == (422, "invalid", given)


# --- results ----------------------------------------------------------------------------------------------------


def call(known: str) -> dict[str, Any]:
    return {"type": "tool_call", "tool_call_id": known, "tool_name": "ask", "args": {}}


def result(known: str, output: Any = 1) -> dict[str, Any]:
    return {"tool_call_id": known, "output": output}


TWO = [call("a"), call("b")]


def test_each_call_gets_its_result_in_the_order_of_the_calls() -> None:
    answers = answered_calls(TWO, [result("b", 2) | {"is_error": True}, result("a")])
    assert [(answer.call, answer.result.output, answer.result.is_error) for answer in answers] == [
        (TWO[0], 1, False),
        (TWO[1], 2, True),
    ]


def test_no_call_needs_no_result() -> None:
    assert answered_calls([], []) == []


@pytest.mark.parametrize(
    ("results", "refusal", "details"),
    [
        ([], ToolResultMissing, {"missing": ["a", "b"]}),
        ([result("b")], ToolResultMissing, {"missing": ["a"]}),
        ([result("a"), result("b"), result("c")], ToolResultUnexpected, {"unexpected": ["c"], "expected": ["a", "b"]}),
        ([result("c")], ToolResultUnexpected, {"unexpected": ["c"], "expected": ["a", "b"]}),
        ([result("a"), result("a", 2)], ToolResultDuplicate, {"tool_call_id": "a"}),
        ([result("c"), result("c")], ToolResultDuplicate, {"tool_call_id": "c"}),
        ([result("A"), result("b")], ToolResultUnexpected, {"unexpected": ["A"], "expected": ["a", "b"]}),
    ],
    ids=["none", "one", "one too many", "another", "one twice", "another twice", "another case"],
)
def test_exactly_the_open_calls_are_to_be_answered(
    results: list[dict[str, Any]], refusal: type[ChatRefusal], details: dict[str, Any]
) -> None:
    with pytest.raises(refusal) as caught:
        answered_calls(TWO, results)
    assert type(caught.value) is refusal
    assert (caught.value.status, caught.value.code, caught.value.details) == (422, "invalid", details)


@pytest.mark.parametrize(
    ("results", "where"),
    [
        ("a", "results"),
        ({"tool_call_id": "a", "output": 1}, "results"),
        ([result("a"), "b"], "results.1"),
        ([{"output": 1}], "results.0.tool_call_id"),
        ([{"tool_call_id": "a"}], "results.0.output"),
        ([result("a") | {"note": ""}], "results.0.note"),
        ([{"tool_call_id": 1, "output": 1}], "results.0.tool_call_id"),
        ([result("a") | {"is_error": 1}], "results.0.is_error"),
        ([result("a") | {"is_error": None}], "results.0.is_error"),
        ([result("a", float("nan"))], "results.0.output"),
        ([result("a", {"deep": [float("inf")]})], "results.0.output.dict.deep.list.0"),
        ([result("a", {1: 2})], "results.0.output.dict.1"),
        ([result("a", {1, 2})], "results.0.output"),
        ([result("a", b"bytes")], "results.0.output"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_results_of_another_form_are_refused_with_the_place(results: Any, where: str) -> None:
    with pytest.raises(ToolResultInvalid) as refusal:
        answered_calls(TWO, results)
    assert refusal.value.detail.startswith(where)


def nested(depth: int) -> Any:
    value: Any = 1
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    return value


UNSTORABLE = {
    "NUL": "a\x00b",
    "NUL deep inside": [{"a": ["\x00"]}],
    "NUL in a name": {"\x00": 1},
    "half a surrogate pair": "\ud83d",
    "the other half in a name": {"\udc00": 1},
    "too long": "x" * MAX_TEXT,
    "too long in sum": ["x" * 1000] * 1000,
    "a number that JSON cannot write": 10**5000,
}


@pytest.mark.parametrize("output", list(UNSTORABLE))
def test_what_cannot_be_stored_is_refused_by_the_name_of_its_call(output: str) -> None:
    with pytest.raises(ToolResultInvalid) as refusal:
        answered_calls(TWO, [result("a"), result("b", UNSTORABLE[output])])
    assert refusal.value.details == {"tool_call_id": "b"}
    assert "b" in refusal.value.detail
    assert len(refusal.value.detail) < 200


@pytest.mark.parametrize("depth", [300, 1000, 100_000])
def test_an_output_that_is_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(ToolResultInvalid):
        answered_calls([call("a")], [result("a", nested(depth))])


def test_a_refusal_is_a_sentence_however_long_the_names_in_what_it_refuses() -> None:
    output: Any = float("nan")
    for _ in range(100):
        output = {"a" * 1000: output}
    with pytest.raises(ToolResultInvalid) as refusal:
        answered_calls([call("a")], [result("a", output)])
    assert len(refusal.value.detail) < 1000


@pytest.mark.parametrize(
    "output",
    [None, True, 0, -1.5, 2**70, "", "\\u0000", "ä€😀", [], {}, [None, [[]]], {"": {"a": 1}}, nested(100),
     "x" * (MAX_TEXT - 2)],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_any_other_json_is_taken_as_it_is(output: Any) -> None:
    (answer,) = answered_calls([call("a")], [result("a", output)])
    assert answer.result.output == output
    assert type(answer.result.output) is type(output)
