"""The demo model as a real process, asked by a real client over TCP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from demomodel.testing import ROOT, DemoModelProcess, demo_model_process


@pytest.fixture(scope="module")
def model() -> Iterator[DemoModelProcess]:
    """The process all tests of this file share; its log is empty at the end."""
    with demo_model_process() as process:
        yield process
        assert process.log.read_text() == ""


@pytest.fixture
def client(model: DemoModelProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=model.url, timeout=10) as client:
        yield client


def body(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": prompt}], **fields}


def ask(client: httpx.Client, prompt: str, **fields: Any) -> httpx.Response:
    return client.post("/chat/completions", json=body(prompt, **fields))


def streaming(client: httpx.Client, prompt: str, **fields: Any) -> Any:
    return client.stream("POST", "/chat/completions", json=body(prompt, stream=True, **fields))


def events(client: httpx.Client, prompt: str, **fields: Any) -> list[str]:
    with streaming(client, prompt, **fields) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return [line.removeprefix("data: ") for line in response.iter_lines() if line]


def deltas(lines: list[str]) -> list[dict[str, Any]]:
    return [choice["delta"] for line in lines[:-1] for choice in json.loads(line)["choices"]]


def first_chunks(response: httpx.Response, count: int) -> list[str]:
    """The first texts of an open stream, without waiting for more."""
    texts: list[str] = []
    for line in response.iter_lines():
        if line and (text := json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")):
            texts.append(text)
            if len(texts) == count:
                break
    return texts


def test_a_stream_begins_with_the_role_and_ends_with_the_reason_and_done(client: httpx.Client) -> None:
    lines = events(client, "[long 300]")
    assert lines[-1] == "[DONE]"
    assert deltas(lines)[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas(lines)[1:4]] == ["word1", " word2", " word3"]
    assert len(deltas(lines)) == 1 + 300 + 1
    last = json.loads(lines[-2])
    assert last["object"] == "chat.completion.chunk"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in last


@pytest.mark.parametrize("pace", ["[at once]", "[interval 0.001]", "[first token after 0.001]"])
def test_every_pace_streams_the_same_events(client: httpx.Client, pace: str) -> None:
    with_usage = {"include_usage": True}
    lines = events(client, f"{pace} [think why so] [say 21 °C \U0001f31e]", stream_options=with_usage)
    assert [delta["reasoning_content"] for delta in deltas(lines)[1:3]] == ["why", " so"]
    assert "".join(delta.get("content", "") for delta in deltas(lines)) == "21 °C \U0001f31e"
    assert json.loads(lines[-2])["choices"] == []
    assert json.loads(lines[-2])["usage"]["completion_tokens"] == 5
    assert lines[-1] == "[DONE]"


def test_the_first_chunks_arrive_while_the_rest_is_not_yet_sent(client: httpx.Client) -> None:
    with streaming(client, "[interval 600] [say now later]") as response:
        assert first_chunks(response, 1) == ["now"]


def test_without_streaming_the_answer_is_one_object(client: httpx.Client) -> None:
    answer = ask(client, '[think hm] [say yes it is] [call f {"a": 1}]').json()
    assert answer["object"] == "chat.completion"
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("yes it is", "hm")
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] == 10 + 7
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 1}


def test_the_same_question_gets_the_same_answer(client: httpx.Client) -> None:
    first, second = (ask(client, "Why is the sky blue?").json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


def test_a_token_limit_is_obeyed(client: httpx.Client) -> None:
    choice = ask(client, "[long 50]", max_tokens=2).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("word1 word2", "length")


def test_parallel_calls_arrive_in_fragments_and_their_results_are_mentioned(client: httpx.Client) -> None:
    arguments = '{"city": "Paris", "unit": "celsius"}'
    prompt = f"[call weather {arguments}] [call clock]"
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas(events(client, prompt)):
        for part in delta.get("tool_calls", ()):
            call = calls.setdefault(part["index"], {"id": part.get("id"), "name": "", "arguments": ""})
            call["name"] += part["function"].get("name", "")
            call["arguments"] += part["function"]["arguments"]
    assert [(call["name"], call["arguments"]) for call in calls.values()] == [
        ("weather", arguments),
        ("clock", "{}"),
    ]
    assert calls[0]["id"] != calls[1]["id"]
    said = [
        {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
        for c in calls.values()
    ]
    messages = [
        *body(prompt)["messages"],
        {"role": "assistant", "content": None, "tool_calls": said},
        {"role": "tool", "tool_call_id": calls[1]["id"], "content": "noon"},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "21 degrees"},
    ]
    choice = client.post("/chat/completions", json={"model": "demo", "messages": messages}).json()["choices"][0]
    assert "clock answered: noon" in choice["message"]["content"]
    assert "weather answered: 21 degrees" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_doubled_calls_carry_one_id_and_later_calls_another(client: httpx.Client) -> None:
    prompt = '[call doubled f {"a": 1}] [call g]'
    first, second, third = ask(client, prompt).json()["choices"][0]["message"]["tool_calls"]
    assert first == second
    assert third["id"] != first["id"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_scripted_failure_is_an_error_as_openai_words_it(client: httpx.Client, stream: bool) -> None:
    response = ask(client, "[fail 429 retry-after 2]", stream=stream)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert ask(client, "[fail 529]", stream=stream).json()["error"]["type"] == "overloaded_error"
    refused = ask(client, "[fail 400 code context_length_exceeded]").json()["error"]
    assert (refused["type"], refused["code"]) == ("invalid_request_error", "context_length_exceeded")


def test_a_request_that_fails_twice_is_answered_the_third_time(client: httpx.Client) -> None:
    prompt = "[fail 500 times 2] [say at last]"
    assert [ask(client, prompt).status_code for _ in range(2)] == [500, 500]
    assert ask(client, prompt).json()["choices"][0]["message"]["content"] == "at last"


@pytest.mark.parametrize("pace", ["[at once]", "[interval 0.001]"])
def test_a_cut_closes_the_connection_in_the_middle(client: httpx.Client, pace: str) -> None:
    with streaming(client, f"{pace} [cut after 2] [long 9]") as response:
        received = bytearray()
        with pytest.raises(httpx.RemoteProtocolError):
            for part in response.iter_bytes():
                received += part
    assert b"word2" in received
    assert b"word3" not in received
    assert b"[DONE]" not in received
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, "[cut after 2] [long 9]")


def test_an_error_in_the_stream_is_its_last_event(client: httpx.Client) -> None:
    lines = events(client, "[error after 1] [long 9]")
    assert json.loads(lines[-1])["error"]["code"] == "demo_error"
    assert len(lines) == 3
    assert ask(client, "[error after 1] [long 9]").status_code == 502


def test_a_stalled_stream_is_silent_after_its_chunks(client: httpx.Client) -> None:
    client.timeout = httpx.Timeout(10, read=0.2)
    with streaming(client, "[stall after 2] [long 9]") as response:
        received = bytearray()
        with pytest.raises(httpx.ReadTimeout):
            for part in response.iter_bytes():
                received += part
    assert b"word2" in received
    assert b"word3" not in received


@pytest.mark.parametrize("prompt", ["[stall after 0]", "[first token after 600]"])
def test_headers_come_before_the_first_token(client: httpx.Client, prompt: str) -> None:
    with streaming(client, prompt) as response:
        assert response.status_code == 200


def test_the_server_goes_on_when_clients_leave(client: httpx.Client) -> None:
    for prompt in ("[stall after 1] [say x]", "[interval 0.001] [long 100000]", "[long 100000]"):
        with streaming(client, prompt) as response:
            assert first_chunks(response, 1)
    assert ask(client, "[say still here]").json()["choices"][0]["message"]["content"] == "still here"


def test_a_client_that_leaves_in_the_middle_of_its_request_is_forgotten(
    client: httpx.Client, model: DemoModelProcess
) -> None:
    address = urlsplit(model.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
    assert ask(client, "[say still here]").is_success


def test_models_and_health_are_answered(client: httpx.Client, model: DemoModelProcess) -> None:
    assert [entry["id"] for entry in client.get("/models").json()["data"]] == ["demo"]
    assert httpx.get(model.url.removesuffix("/v1") + "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("GET", "/chat/completions", b"", 405),
        ("POST", "/chat/completions", b"{not json", 400),
        ("POST", "/chat/completions", b"{}", 400),
    ],
)
def test_a_wrong_request_is_refused(client: httpx.Client, method: str, path: str, content: bytes, status: int) -> None:
    response = client.request(method, path, content=content)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "code"}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_exits_on_a_signal_while_streams_are_open(sent: signal.Signals) -> None:
    with demo_model_process(interval=0.001) as own, httpx.Client(base_url=own.url, timeout=10) as client:
        with (
            streaming(client, "[stall after 1] [say x]") as stalled,
            streaming(client, "[long 100000]") as talking,
        ):
            assert first_chunks(stalled, 1) and first_chunks(talking, 1)
            signalled_at = time.monotonic()
            own.process.send_signal(sent)
            own.process.wait(timeout=10)
            assert time.monotonic() - signalled_at < 2
        assert own.log.read_text() == ""


def test_a_port_in_use_ends_it_with_one_line(model: DemoModelProcess) -> None:
    command = [sys.executable, "-m", "demomodel", "--port", str(urlsplit(model.url).port)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode != 0
    assert "address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_help_explains_the_directives_and_a_wrong_value_is_named() -> None:
    command = [sys.executable, "-m", "demomodel"]
    shown = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert "[stall after N]" in shown.stdout
    wrong = [*command, "--interval", "fast"]
    refused = subprocess.run(wrong, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert refused.returncode == 2
    assert "--interval" in refused.stderr
