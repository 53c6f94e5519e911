"""The model adapter over HTTP: against what providers really sent, and against the failures of the demo model."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest as LibraryRequest
from pydantic_ai.messages import UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.native_tools import WebFetchTool

from chat import content
from chatworker.failure import judge
from chatworker.models.catalogue import ModelSpec
from chatworker.models.client import LibraryStream
from chatworker.models.history import to_library
from chatworker.models.protocol import ModelAnswer, ModelError, ModelRequest, PromptMessage
from chatworker.models.registry import ModelRegistry, _model
from demomodel.testing import demo_model_process
from tests.replay import RECORDINGS, ReplayServer, replay_server

USER = PromptMessage("user", [{"type": "text", "text": "hello"}])


def run(test: Callable[[ModelRegistry], Awaitable[None]]) -> None:
    async def main() -> None:
        registry = ModelRegistry()
        try:
            async with asyncio.timeout(20):
                await test(registry)
        finally:
            await registry.aclose()
        if left := asyncio.all_tasks() - {asyncio.current_task()}:  # generators that the loop is about to close
            _, left = await asyncio.wait(left, timeout=1)
        assert not left, f"tasks are left: {left}"

    asyncio.run(main())


def spec_for(url: str, *, kind: str = "openai", name: str = "m", provider: str = "", **options: Any) -> ModelSpec:
    base_url = url + "/v1" if kind == "openai" and not url.endswith("/v1") else url
    return ModelSpec(f"{provider or kind}:{name}", name, kind, base_url, api_key="secret", options=options)


async def call(
    registry: ModelRegistry, spec: ModelSpec, messages: list[PromptMessage], system: str = ""
) -> tuple[ModelAnswer, list[dict[str, Any]]]:
    """The answer, and the deltas that led to it."""
    deltas = []
    request = ModelRequest(messages, system=system, options=spec.options)
    async with registry.client(spec).stream(request) as stream:
        async for delta in stream:
            deltas.append(delta)  # noqa: PERF401 (what came before an error counts)
        return stream.answer(), deltas


def asked(recording: str, kind: str, messages: list[PromptMessage] | None = None) -> tuple[Any, Any, ReplayServer]:
    """(answer, deltas, server) of one recorded interaction."""
    results: list[Any] = []

    async def test(registry: ModelRegistry) -> None:
        results.extend(await call(registry, spec_for(server.url, kind=kind), messages or [USER], system="Be kind."))

    with replay_server([RECORDINGS / f"{recording}.json"]) as server:
        run(test)
    return results[0], results[1], server


def without_meta(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return content.shown(parts)


# --- recordings ------------------------------------------------------------------------------------------------------


def test_an_answer_of_openai_is_its_text_and_its_usage() -> None:
    answer, deltas, server = asked("openai_chat_text", "openai")
    assert answer.parts == [{"type": "text", "text": "The capital of Mexico is Mexico City."}]
    assert answer.usage == {"input_tokens": 14, "output_tokens": 8}
    assert deltas[0] == {"type": "text", "index": 0, "text": "The"}
    (request,) = server.requests
    assert (request.path, request.headers["authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert request.body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
    ]
    assert request.body["stream"] is True


def test_what_anthropic_thought_is_kept_with_its_signature_which_is_never_shown() -> None:
    answer, deltas, server = asked("anthropic_thinking", "anthropic")
    reasoning, answered = answer.parts
    assert (reasoning["type"], answered["type"]) == ("reasoning", "text")
    assert reasoning["meta"]["signature"].startswith("EvMCCkYICxgCKkCHP2cSuEdcJK")
    assert answer.usage == {"input_tokens": 43, "output_tokens": 282}
    assert not any("meta" in delta for delta in deltas)
    (request,) = server.requests
    assert request.path == "/v1/messages"
    assert "secret" in (request.headers.get("x-api-key", "") + request.headers.get("authorization", ""))
    assert request.body["system"] in ("Be kind.", [{"type": "text", "text": "Be kind."}])


@pytest.mark.parametrize(
    ("recording", "kind"),
    [
        ("openai_chat_text", "openai"),
        ("openai_chat_text_2", "openai"),
        ("openrouter_reasoning", "openai"),
        ("anthropic_thinking", "anthropic"),
        ("anthropic_web_fetch", "anthropic"),
        ("google_tool_call_thought_signature", "google"),
    ],
)
def test_what_was_streamed_is_what_is_saved(recording: str, kind: str) -> None:
    answer, deltas, _ = asked(recording, kind)
    assert content.merge_deltas(deltas) == without_meta(answer.parts)
    assert all(isinstance(delta["index"], int) for delta in deltas)
    json.dumps(answer.parts)


def test_reasoning_of_openrouter_comes_before_its_text() -> None:
    answer, _, _ = asked("openrouter_reasoning", "openai")
    assert without_meta(answer.parts) == [
        {"type": "reasoning", "text": "This is a simple arithmetic question. 2+2 equals 4."},
        {"type": "text", "text": "2 + 2 = 4"},
    ]
    assert answer.usage == {"input_tokens": 43, "output_tokens": 36}


def second_request(recording: str, kind: str) -> tuple[ModelAnswer, ModelAnswer, Any]:
    """A turn with one tool call: first answer, second answer, and the body of the second request."""
    answers: list[ModelAnswer] = []

    async def test(registry: ModelRegistry) -> None:
        spec = spec_for(server.url, kind=kind)
        first, _ = await call(registry, spec, [USER])
        (made,) = content.calls_in(first.parts)
        result = content.tool_result(made, "London", is_error=False)
        history = [USER, PromptMessage("assistant", first.parts, spec.full_name), PromptMessage("tool", [result])]
        second, _ = await call(registry, spec, history)
        answers.extend([first, second])

    with replay_server([RECORDINGS / f"{recording}.json"]) as server:
        run(test)
    return answers[0], answers[1], server.requests[1].body


def test_a_tool_call_of_openai_goes_back_with_its_result() -> None:
    first, second, body = second_request("openai_chat_text_2", "openai")
    call_id = "call_ZR5UUuTt3pf61kjwAJIYdVMj"
    assert first.parts == [
        {"type": "tool_call", "tool_call_id": call_id, "tool_name": "get_capital", "args": {"country": "UK"}}
    ]
    assert second.parts == [{"type": "text", "text": "The capital of the UK is London."}]
    user, assistant, tool = body["messages"]
    assert user == {"role": "user", "content": "hello"}
    (made,) = assistant["tool_calls"]
    assert (made["id"], made["function"]["name"]) == (call_id, "get_capital")
    assert json.loads(made["function"]["arguments"]) == {"country": "UK"}
    assert tool == {"role": "tool", "tool_call_id": call_id, "content": "London"}


def test_the_thought_signature_of_google_goes_back_with_the_call() -> None:
    first, second, body = second_request("google_tool_call_thought_signature", "google")
    (made,) = first.parts
    signature = made["meta"]["provider_details"]["thought_signature"]
    assert (made["type"], made["tool_name"], made["args"]) == ("tool_call", "get_country", {})
    assert second.parts == [{"type": "text", "text": "The capital of Mexico is Mexico City."}]
    _, model, tool = body["contents"]
    (sent,) = model["parts"]
    assert sent["functionCall"]["name"] == "get_country"
    assert sent["thoughtSignature"].translate(str.maketrans("-_", "+/")) == signature
    assert tool["parts"][0]["functionResponse"]["name"] == "get_country"


def test_a_signature_goes_back_to_the_model_that_made_it_and_to_no_other() -> None:
    answer, _, _ = asked("anthropic_thinking", "anthropic")
    for model, blocks in (("anthropic:m", ["thinking", "text"]), ("openai:gpt", ["text"])):
        history = [USER, PromptMessage("assistant", answer.parts, model), USER]
        _, _, server = asked("anthropic_thinking", "anthropic", history)
        assistant = server.requests[0].body["messages"][1]
        assert [block["type"] for block in assistant["content"]] == blocks
        if blocks[0] == "thinking":
            assert assistant["content"][0]["signature"] == answer.parts[0]["meta"]["signature"]


def test_a_tool_that_the_provider_executes_is_call_and_result_within_its_answer() -> None:
    collected: list[Any] = []

    async def test(registry: ModelRegistry) -> None:
        # The adapter declares no such tools yet, so the library is told of one directly.
        model = _model(spec_for(server.url, kind="anthropic"), registry._http)
        parameters = ModelRequestParameters(native_tools=[WebFetchTool()])
        prompt = [LibraryRequest(parts=[UserPromptPart("hello")])]
        async with model_request_stream(model, prompt, model_request_parameters=parameters) as response:
            stream = LibraryStream(response, "anthropic")
            collected.append([delta async for delta in stream])
            collected.append(stream.answer())

    with replay_server([RECORDINGS / "anthropic_web_fetch.json"]) as server:
        run(test)
    deltas, answer = collected
    assert [part["type"] for part in answer.parts] == ["reasoning", "tool_call", "tool_result", "text"]
    _, made, result, _ = answer.parts
    assert (made["tool_name"], made["args"]) == ("web_fetch", {"url": "https://ai.pydantic.dev"})
    assert made["provider_executed"] is result["provider_executed"] is True
    assert made["tool_call_id"] == result["tool_call_id"]
    assert content.outstanding_calls([("assistant", answer.parts)]) == []
    assert content.merge_deltas(deltas) == without_meta(answer.parts)
    (_, replayed) = to_library([USER, PromptMessage("assistant", answer.parts, "a:m")], system="", model="a:m")
    assert [part.part_kind for part in replayed.parts] == [
        "thinking",
        "builtin-tool-call",
        "builtin-tool-return",
        "text",
    ]


def test_an_error_in_the_middle_of_a_stream_is_a_model_error_after_what_came() -> None:
    with pytest.raises(ModelError) as failed:
        asked("openrouter_stream_error", "openai")
    assert "Token limit reached" in failed.value.message
    assert (failed.value.status_code, failed.value.provider) == (400, "openai")
    assert not judge(failed.value).retryable


def test_a_stream_that_ends_too_early_is_an_error_and_not_an_answer(tmp_path: Path) -> None:
    for recording, kind, ending in (
        ("openai_chat_text", "openai", '"finish_reason":"stop"'),
        ("anthropic_thinking", "anthropic", '"type":"message_delta"'),
        ("google_tool_call_thought_signature", "google", '"finishReason"'),
    ):
        recorded = json.loads((RECORDINGS / f"{recording}.json").read_text())
        response = recorded["interactions"][0]["response"]
        kept = response["body"][: response["body"].index(ending)]
        response["body"] = kept[: max(kept.rfind("\n\n"), kept.rfind("\r\n\r\n")) + 2]
        shortened = tmp_path / f"{recording}.json"
        shortened.write_text(json.dumps(recorded))
        with replay_server([shortened]) as server, pytest.raises(ModelError) as failed:

            async def test(registry: ModelRegistry, kind: str = kind, url: str = server.url) -> None:
                await call(registry, spec_for(url, kind=kind), [USER])

            run(test)
        assert (judge(failed.value).kind, judge(failed.value).retryable) == ("timeout", True), failed.value.message


# --- the history that is sent ----------------------------------------------------------------------------------------


def test_neighbouring_messages_of_one_side_are_one_and_empty_ones_are_none() -> None:
    history = [
        USER,
        USER,
        PromptMessage("user", [{"type": "file", "file_id": "f"}]),
        PromptMessage("assistant", [{"type": "reasoning", "text": "of another model"}], "other:m"),
        PromptMessage("assistant", []),
        USER,
    ]
    (request,) = to_library(history, system="Be kind.", model="openai:m")
    assert [part.part_kind for part in request.parts] == ["system-prompt", "user-prompt", "user-prompt", "user-prompt"]


@pytest.mark.parametrize("kind", ["openai", "anthropic", "google"])
def test_a_call_with_broken_arguments_and_its_error_can_be_sent_again(kind: str) -> None:
    broken = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "t", "args": '{"broken": '}
    error = content.tool_result(broken, "no JSON", is_error=True)
    history = [USER, PromptMessage("assistant", [broken], f"{kind}:m"), PromptMessage("tool", [error])]
    recording = {
        "openai": "openai_chat_text",
        "anthropic": "anthropic_thinking",
        "google": "google_tool_call_thought_signature",
    }
    _, _, server = asked(recording[kind], kind, history)
    assert "no JSON" in json.dumps(server.requests[0].body)


def test_options_of_the_model_win_over_our_defaults() -> None:
    async def test(registry: ModelRegistry) -> None:
        await call(registry, spec_for(server.url, temperature=0.5, max_tokens=7), [USER])

    with replay_server([RECORDINGS / "openai_chat_text.json"]) as server:
        run(test)
    body = server.requests[0].body
    assert (body["temperature"], body["max_completion_tokens"]) == (0.5, 7)


# --- failures, from the demo model -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    with demo_model_process() as process:
        yield process.url


def says(words: str) -> list[PromptMessage]:
    return [PromptMessage("user", [{"type": "text", "text": words}])]


def failure_of(demo: str, words: str) -> ModelError:
    async def test(registry: ModelRegistry) -> None:
        await call(registry, spec_for(demo, provider="demo", name="demo"), says(words))

    with pytest.raises(ModelError) as failed:
        run(test)
    assert failed.value.provider == "demo"
    return failed.value


@pytest.mark.parametrize(
    ("words", "status", "retry_after", "kind", "retryable"),
    [
        ("[fail 401]", 401, 0, "auth", False),
        ("[fail 429 retry-after 7]", 429, 7, "rate_limit", True),
        ("[fail 500]", 500, 0, "generic", True),
        ("[fail 503]", 503, 0, "timeout", True),
        ("[fail 529]", 529, 0, "overloaded", True),
        ("[fail 400 code context_length_exceeded]", 400, 0, "config", False),
        ("[fail 429 code insufficient_quota]", 429, 0, "usage_limit", False),
        ("[fail 404]", 404, 0, "generic", False),
    ],
)
def test_an_http_error_is_a_model_error_with_its_facts(
    demo: str, words: str, status: int, retry_after: float, kind: str, retryable: bool
) -> None:
    error = failure_of(demo, words)
    assert (error.status_code, error.retry_after) == (status, retry_after)
    assert (judge(error).kind, judge(error).retryable) == (kind, retryable)


@pytest.mark.parametrize("words", ["[cut after 3]", "[cut after 0]", "[error after 3]"])
def test_a_stream_that_breaks_is_worth_another_try(demo: str, words: str) -> None:
    error = failure_of(demo, f"{words} [long 10]")
    assert judge(error).retryable, (error.message, error.status_code)


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    error = failure_of("http://127.0.0.1:9/v1", "hello")
    assert (judge(error).kind, judge(error).retryable, error.status_code) == ("timeout", True, None)


def test_parallel_calls_and_reasoning_of_the_demo_model_are_parts(demo: str) -> None:
    async def test(registry: ModelRegistry) -> None:
        spec = spec_for(demo, provider="demo", name="demo")
        words = '[think hm] [call a {"n": 1}] [call b {}] [call broken c]'
        answer, deltas = await call(registry, spec, says(words))
        assert [part["type"] for part in answer.parts] == ["reasoning", "tool_call", "tool_call", "tool_call"]
        assert [part["args"] for part in answer.parts[1:3]] == [{"n": 1}, {}]
        assert isinstance(answer.parts[3]["args"], str)
        assert content.merge_deltas(deltas) == without_meta(answer.parts)

    run(test)


def test_a_cancelled_call_ends_at_once_and_leaves_the_client_usable(demo: str) -> None:
    async def test(registry: ModelRegistry) -> None:
        spec = spec_for(demo, provider="demo", name="demo")
        begun = asyncio.Event()

        async def stalls() -> None:
            async with registry.client(spec).stream(ModelRequest(says("[stall after 1] hello"))) as stream:
                async for _ in stream:
                    begun.set()

        calling = asyncio.create_task(stalls())
        await begun.wait()
        calling.cancel()
        await asyncio.wait({calling}, timeout=5)
        assert calling.cancelled()
        answer, _ = await call(registry, spec, says("[say fine]"))
        assert answer.parts == [{"type": "text", "text": "fine"}]

    run(test)


def test_a_mistake_of_the_caller_is_not_taken_for_one_of_the_model(demo: str) -> None:
    async def test(registry: ModelRegistry) -> None:
        spec = spec_for(demo, provider="demo", name="demo")
        with pytest.raises(ZeroDivisionError):
            async with registry.client(spec).stream(ModelRequest(says("hello"))) as stream:
                async for _ in stream:
                    raise ZeroDivisionError

    run(test)


def test_an_unknown_kind_of_failure_of_the_library_is_still_a_model_error(demo: str) -> None:
    async def test(registry: ModelRegistry) -> None:
        spec = spec_for(demo, provider="demo", name="demo", extra_body="not an object")
        await call(registry, spec, [USER])

    with pytest.raises(ModelError):
        run(test)
