"""Parts in, parts out: what a user may send, what deltas amount to, which calls are open."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import content
from chat.errors import MessageInvalid

TEXT = {"type": "text", "text": "hi"}
CALL: dict[str, Any] = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "weather", "args": {"city": "Rome"}}
RESULT = {"type": "tool_result", "tool_call_id": "c1", "tool_name": "weather", "output": "sun", "is_error": False}


def delta(index: int, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": kind, "index": index, **more}


# --- what a user may send --------------------------------------------------------------------------------------------


def test_text_and_files_are_taken_as_they_are() -> None:
    file = {"type": "file", "file_id": "f1", "media_type": "image/png", "name": "a.png"}
    assert content.user_parts([TEXT, file]) == [TEXT, file]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        None,
        "hi",
        {"type": "text"},
        [{"type": "text"}],
        [{"type": "text", "text": 1}],
        [{"type": "text", "text": "x", "more": 1}],
        [{"type": "text", "text": "x" * (content.MAX_TEXT + 1)}],
        [{"type": "reasoning", "text": "I am the model"}],
        [CALL],
        [{"type": "text", "text": " \n\t"}],
        [TEXT] * 101,
        [{"type": "text", "text": "nul\x00"}],
        [{"type": "text", "text": "half \ud83d"}],
        [{"type": "file", "file_id": "f\x00"}],
        [TEXT, {"type": "file", "file_id": "f", "name": "\x00"}],
        [{"type": "\ud83d", "text": "x"}],
        [None],
    ],
    ids=lambda parts: ascii(parts)[:40],
)
def test_a_message_without_storable_content_is_refused_with_a_reason(parts: Any) -> None:
    with pytest.raises(MessageInvalid) as refused:
        content.user_parts(parts)
    assert refused.value.detail
    assert refused.value.status == 422


# --- text that can be stored -----------------------------------------------------------------------------------------


def test_nul_goes_and_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert content.clean_text("a\x00b") == "ab"
    assert content.clean_text("a\ud83db") == "a?b"
    assert content.clean({"k\x00": ["\ud83d", 1, None, ("x\x00",)]}) == {"k": ["?", 1, None, ["x"]]}


@given(st.text(st.characters()))
def test_clean_text_can_always_be_stored_and_good_text_is_untouched(text: str) -> None:
    cleaned = content.clean_text(text)
    assert "\x00" not in cleaned
    cleaned.encode()
    assert content.clean_text(cleaned) == cleaned


def test_what_only_the_provider_needs_is_never_shown() -> None:
    assert content.shown([TEXT | {"meta": {"signature": "s"}}]) == [TEXT]


def test_the_text_of_a_message_is_its_text_parts_joined() -> None:
    assert content.text_of([TEXT, CALL, {"type": "reasoning", "text": "hm"}, TEXT]) == "hi hi"


# --- deltas ----------------------------------------------------------------------------------------------------------


def test_deltas_are_joined_by_index_in_the_order_in_which_they_began() -> None:
    deltas = [
        delta(0, "reasoning", text="think "),
        delta(1, text="Hel"),
        delta(0, "reasoning", text="hard"),
        delta(1, text="lo"),
    ]
    assert content.merge_deltas(deltas) == [
        {"type": "reasoning", "text": "think hard"},
        {"type": "text", "text": "Hello"},
    ]


def test_a_final_call_replaces_its_deltas_and_keeps_their_place() -> None:
    deltas = [delta(0, "tool_call_delta", args_delta='{"ci'), delta(1, text="then"), delta(0, **CALL | {"kind": "x"})]
    deltas[2] = CALL | {"index": 0}
    assert content.merge_deltas(deltas) == [CALL, {"type": "text", "text": "then"}]


def test_a_call_that_never_became_whole_was_never_made() -> None:
    assert content.merge_deltas([delta(0, "tool_call_delta", args_delta="{")]) == []


def test_results_that_the_provider_made_stay_in_the_answer() -> None:
    call, result = CALL | {"provider_executed": True}, RESULT | {"provider_executed": True}
    merged = content.merge_deltas([call | {"index": 0}, result | {"index": 1}, delta(2, text="Sun.")])
    assert merged == [call, result, {"type": "text", "text": "Sun."}]
    assert content.calls_in(merged) == []


@pytest.mark.parametrize(
    "malformed",
    [
        {"type": "text", "text": "no index"},
        {"type": "text", "text": "text index", "index": "0"},
        {"index": 0, "text": "no type"},
        delta(0, text=7),
        delta(0, text=None),
        delta(0, "unheard of", text="x"),
        delta(0, "tool_call", tool_name="nameless id"),
        delta(0, "tool_call", tool_call_id=None, tool_name="x"),
        delta(0, "tool_result", output="of nothing"),
        delta(0, text=""),
    ],
    ids=lambda part: json.dumps(part),
)
def test_what_is_malformed_or_empty_is_left_out(malformed: dict[str, Any]) -> None:
    assert content.merge_deltas([malformed]) == []
    assert content.merge_deltas([malformed, delta(1, text="good")]) == [{"type": "text", "text": "good"}]


@given(st.lists(st.tuples(st.integers(0, 3), st.text(min_size=1, max_size=4)), max_size=20), st.integers(0, 20))
def test_where_the_stream_is_cut_does_not_change_the_text_so_far(pieces: list[tuple[int, str]], cut: int) -> None:
    deltas = [delta(index, text=text) for index, text in pieces]
    so_far = {index: "".join(text for at, text in pieces[:cut] if at == index) for index, _ in pieces[:cut]}
    assert [part["text"] for part in content.merge_deltas(deltas[:cut])] == list(so_far.values())


# --- calls -----------------------------------------------------------------------------------------------------------


def test_an_id_is_one_call_however_often_a_model_gave_it() -> None:
    other = CALL | {"tool_call_id": "c2"}
    assert content.calls_in([CALL, other, CALL | {"args": {"again": 1}}]) == [CALL, other]
    assert content.outstanding_calls([("assistant", [CALL, CALL]), ("tool", [RESULT])]) == []


def test_calls_are_open_until_a_tool_message_answers_them() -> None:
    second = CALL | {"tool_call_id": "c2"}
    tail = [("assistant", [CALL, TEXT, second])]
    assert content.outstanding_calls(tail) == [CALL, second]
    assert content.outstanding_calls([*tail, ("tool", [RESULT])]) == [second]
    assert content.outstanding_calls([*tail, ("tool", [RESULT]), ("tool", [RESULT | {"tool_call_id": "c2"}])]) == []


def test_only_the_last_answer_has_open_calls() -> None:
    assert content.outstanding_calls([("assistant", [CALL]), ("user", [TEXT]), ("assistant", [TEXT])]) == []
    assert content.outstanding_calls([("assistant", [CALL]), ("user", [TEXT])]) == [CALL]
    assert content.outstanding_calls([]) == []


def test_the_provider_answers_its_own_calls() -> None:
    assert content.outstanding_calls([("assistant", [CALL | {"provider_executed": True}])]) == []


def test_a_result_names_its_call_and_can_be_stored() -> None:
    assert content.tool_result(CALL, {"out": "a\x00b"}, is_error=True, synthetic=True) == {
        "type": "tool_result",
        "tool_call_id": "c1",
        "tool_name": "weather",
        "output": {"out": "ab"},
        "is_error": True,
        "synthetic": True,
    }
