"""What the demo model reads out of a request, and what it refuses. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demomodel.conversation import Conversation, ToolResult, read_conversation
from demomodel.errors import ApiError
from demomodel.failures import FailureCounts
from demomodel.request import ChatRequest, read_request

USER = {"role": "user", "content": "go"}


def called(*ids: str) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": f"tool_{i}", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": f"result {call_id}"}


def request_of(messages: list[Any], **fields: Any) -> ChatRequest:
    return read_request(json.dumps({"model": "demo", "messages": messages, **fields}).encode())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER], Conversation("go")),
        ([{"role": "system", "content": "be brief"}], Conversation("")),
        ([USER, {"role": "assistant", "content": "partial"}], Conversation("go")),
        ([USER, called("1"), result("1"), {"role": "assistant", "content": "x"}, USER], Conversation("go")),
        ([USER, called("1"), result("1")], Conversation("go", 1, (ToolResult("tool_1", "result 1"),))),
        (
            [USER, called("1"), result("1"), called("2"), result("2")],
            Conversation("go", 2, (ToolResult("tool_2", "result 2"),)),
        ),
        (
            [USER, called("1", "2"), result("1"), result("2")],
            Conversation("go", 1, (ToolResult("tool_1", "result 1"), ToolResult("tool_2", "result 2"))),
        ),
        ([USER, result("9")], Conversation("go", 0, (ToolResult("tool", "result 9"),))),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, 3]}],
            Conversation("a"),
        ),
        ([{"role": "user", "content": 7}], Conversation("")),
    ],
)
def test_a_conversation_is_the_last_question_and_what_followed(
    messages: list[dict[str, Any]], expected: Conversation
) -> None:
    assert read_conversation(messages) == expected


def test_offered_tools_are_read_by_name() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}, {"type": "function"}, None]
    assert read_conversation([USER], tools).tools == ("weather",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "demo"}',
        b'{"model": "demo", "messages": []}',
        b'{"model": "demo", "messages": ["x"]}',
        b'{"model": "demo", "messages": [{"content": "x"}]}',
        b'{"model": 1, "messages": [{"role": "user"}]}',
    ],
)
def test_a_request_without_model_or_messages_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read_request(body)
    assert refused.value.status == 400
    assert refused.value.as_json()["error"]["type"] == "invalid_request_error"  # type: ignore[index]


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": "x", "stream_options": [], "max_tokens": "many", "stream": "yes"},
        {"max_tokens": -1, "max_completion_tokens": True, "tools": [1], "stream_options": None},
    ],
)
def test_strange_options_are_ignored(fields: dict[str, Any]) -> None:
    request = request_of([USER, {"role": "assistant", "tool_calls": 5}], **fields)
    assert (request.max_tokens, request.include_usage, request.stream) == (None, False, False)
    assert request.prompt_tokens == 1


def test_prompt_tokens_are_the_words_of_all_messages_and_arguments() -> None:
    messages = [{"role": "system", "content": "be brief"}, USER, called("1"), result("1")]
    assert request_of(messages).prompt_tokens == 2 + 1 + 1 + 2


def test_the_same_request_has_the_same_identity_and_any_other_has_another() -> None:
    title = [{"role": "system", "content": "Write a title."}, USER]
    brief = [{"role": "system", "content": "Be brief."}, USER]
    longer = [*brief, called("1"), result("1")]
    other = [brief[0], {"role": "user", "content": "stay"}]
    identities = [request_of(messages).identity for messages in (title, brief, longer, other)]
    assert len(set(identities)) == 4
    assert request_of(brief).identity == identities[1]


def test_a_request_fails_as_often_as_scripted_and_then_no_more() -> None:
    counts = FailureCounts()
    assert [counts.fails_again(b"a", 2) for _ in range(4)] == [True, True, False, False]
    assert counts.fails_again(b"b", 1)
    assert counts.fails_again(b"c", None) and counts.fails_again(b"c", None)


def test_the_memory_of_failures_is_bounded() -> None:
    counts = FailureCounts(remembered=2)
    assert all(counts.fails_again(identity, 1) for identity in (b"a", b"b", b"c"))
    assert not counts.fails_again(b"c", 1)
    assert counts.fails_again(b"a", 1)
