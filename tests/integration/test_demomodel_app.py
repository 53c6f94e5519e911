"""The demo model's ASGI application and the client library Chatd uses: who leaves costs nothing, what is sent
is understood."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest, TextPart, ThinkingPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from demomodel.app import DemoModel
from demomodel.testing import demo_model_process

LIMIT = 10


class Client:
    """The client's end of one ASGI exchange: `sent` is what it received, `leaves` is set when it goes."""

    def __init__(self, prompt: str, **fields: Any) -> None:
        request = {"model": "demo", "messages": [{"role": "user", "content": prompt}], **fields}
        self.unread = [{"type": "http.request", "body": json.dumps(request).encode(), "more_body": False}]
        self.sent: list[Any] = []
        self.received = asyncio.Event()
        self.leaves = asyncio.Event()

    async def receive(self) -> Any:
        if self.unread:
            return self.unread.pop()
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.received.set()

    async def ask(self, app: DemoModel) -> None:
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        await asyncio.wait_for(app(scope, self.receive, self.send), LIMIT)


@pytest.mark.parametrize("prompt", ["[stall after 1] [say x]", "[interval 600] [long 9]"])
def test_work_for_a_client_that_has_left_ends(prompt: str) -> None:
    async def scenario() -> None:
        client = Client(prompt, stream=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(client.ask(DemoModel()))
            await asyncio.wait_for(client.received.wait(), LIMIT)
            client.leaves.set()
        assert client.sent[-1]["more_body"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [True, False])
def test_stopping_cuts_the_answers_that_are_being_sent_and_refuses_new_ones(stream: bool) -> None:
    async def scenario() -> None:
        app = DemoModel()
        before, after = Client("[interval 600] [long 9]", stream=True), Client("[long 9]", stream=stream)
        async with asyncio.TaskGroup() as group:
            group.create_task(before.ask(app))
            await asyncio.wait_for(before.received.wait(), LIMIT)
            app.stop()
        await after.ask(app)
        assert before.sent[-1]["more_body"]
        assert after.sent[0]["status"] == 503

    asyncio.run(scenario())


def test_an_answer_at_once_is_one_write() -> None:
    async def scenario() -> None:
        client = Client("[at once] [long 200]", stream=True)
        await client.ask(DemoModel())
        assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
        assert client.sent[1]["body"].count(b"data: ") == 1 + 200 + 1 + 1

    asyncio.run(scenario())


def test_pydantic_ai_reads_text_reasoning_calls_and_usage() -> None:
    prompt = '[think why so] [say it is warm] [call weather {"city": "Paris"}] [call clock]'

    async def scenario(url: str) -> Any:
        async with OpenAIProvider(base_url=url, api_key="demo").client as client:
            model = OpenAIChatModel("demo", provider=OpenAIProvider(openai_client=client))
            request = ModelRequest(parts=[UserPromptPart(prompt)])
            async with model_request_stream(model, [request]) as stream:
                events = [event async for event in stream]
            assert len(events) > 10
            return stream.get()

    with demo_model_process() as process:
        response = asyncio.run(scenario(process.url))
    reasoning, text, weather, clock = response.parts
    assert isinstance(reasoning, ThinkingPart) and reasoning.content == "why so"
    assert isinstance(text, TextPart) and text.content == "it is warm"
    assert isinstance(weather, ToolCallPart) and weather.args_as_dict() == {"city": "Paris"}
    assert isinstance(clock, ToolCallPart) and clock.args_as_dict() == {}
    assert weather.tool_call_id != clock.tool_call_id
    assert (response.usage.input_tokens, response.usage.output_tokens) == (13, 10)
    assert response.finish_reason == "tool_call"
