"""The demo model as an ASGI application: routes, and the one place where errors become responses.

Keeps two things in memory: how often scripted failures happened, and which answers are being sent. An
exception that is no `ApiError` is a bug and reaches the server's log.
"""

from __future__ import annotations

import json
import secrets
import time

from demomodel.answer import script_for
from demomodel.delivery import Delivery
from demomodel.errors import ApiError
from demomodel.exchange import ClientLeft, Receive, Scope, Send, answer_error, answer_json, read_body
from demomodel.failures import FailureCounts
from demomodel.request import ChatRequest, read_request
from demomodel.script import Failure, Script
from demomodel.wire import Envelope

DEFAULT_INTERVAL = 0.02
MODEL = "demo"


class DemoModel:
    """The ASGI application; `interval` is the pause in seconds between chunks that no directive sets."""

    def __init__(self, interval: float = DEFAULT_INTERVAL) -> None:
        self._started_at = int(time.time())
        self._failures = FailureCounts()
        self._delivery = Delivery(interval)
        self._routes = {
            "/healthz": ("GET", self._health),
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", self._complete),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"the demo model does not speak {scope['type']}")
        try:
            path, method = scope["path"], scope["method"]
            if path not in self._routes:
                raise ApiError(404, f"Unknown request URL: {method} {path}.", code="unknown_url")
            allowed, answer = self._routes[path]
            if method != allowed:
                raise ApiError(405, f"Not allowed to {method} on {path}.", headers={"allow": allowed})
            await answer(receive, send)
        except ApiError as error:
            await answer_error(send, error)
        except ClientLeft:
            return

    def stop(self) -> None:
        """Cut every answer that is being sent, so that the server can exit."""
        self._delivery.cut_all()

    async def _health(self, receive: Receive, send: Send) -> None:
        await answer_json(send, b'{"status":"ok"}')

    async def _models(self, receive: Receive, send: Send) -> None:
        model = {"id": MODEL, "object": "model", "created": self._started_at, "owned_by": "chatd"}
        await answer_json(send, json.dumps({"object": "list", "data": [model]}).encode())

    async def _complete(self, receive: Receive, send: Send) -> None:
        request = read_request(await read_body(receive))
        script = script_for(request.conversation).limited_to(request.max_tokens)
        if script.failure and self._failures.fails_again(request.identity, script.failure.times):
            raise _as_error(script.failure)
        await self._delivery.deliver(
            script,
            _envelope(request, script),
            receive,
            send,
            stream=request.stream,
            include_usage=request.include_usage,
        )


def _envelope(request: ChatRequest, script: Script) -> Envelope:
    call_ids: list[str] = []
    for call in script.calls:
        call_ids.append(call_ids[-1] if call.repeats_id else f"call_{secrets.token_hex(12)}")
    return Envelope(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=request.model,
        call_ids=tuple(call_ids),
        prompt_tokens=request.prompt_tokens,
    )


def _as_error(failure: Failure) -> ApiError:
    headers = {} if failure.retry_after is None else {"retry-after": failure.retry_after}
    message = f"The demo model was told to fail with {failure.status}."
    return ApiError(failure.status, message, code=failure.code, headers=headers)
