"""A `ModelClient` over pydantic-ai's direct interface. The library's types end here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from pydantic_ai import exceptions
from pydantic_ai import messages as lib
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.settings import ModelSettings

from chat.content import clean_text
from chatworker.failure import retry_after_of
from chatworker.models.history import from_library, to_library
from chatworker.models.protocol import ModelAnswer, ModelError, ModelRequest

_LONGEST_READ = 24 * 3600.0
"""Seconds. Silence is our own business (the runner's silence time-out), not the HTTP client's."""


class LibraryClient:
    """Calls one model of one provider."""

    def __init__(self, model: Model, full_name: str) -> None:
        self._model = model
        self._full_name = full_name
        self._provider = full_name.partition(":")[0]

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator["LibraryStream"]:
        defaults = {"max_tokens": request.max_output_tokens, "timeout": _LONGEST_READ}
        settings = cast(ModelSettings, defaults | request.options)
        callers_own: BaseException | None = None
        try:
            history = to_library(request.messages, system=request.system, model=self._full_name)
            async with model_request_stream(self._model, history, model_settings=settings) as response:
                try:
                    yield LibraryStream(response, self._provider)
                except BaseException as error:
                    callers_own = error
                    raise
        except Exception as error:
            if error is callers_own:
                raise
            raise model_error(error, self._provider) from error


class LibraryStream:
    """The deltas of one answer. Text deltas are kept as they were yielded, so that what was seen is what is saved.

    Of two calls to which a model gave one id, the second gets another: every call has a result of its own.
    """

    def __init__(self, response: StreamedResponse, provider: str) -> None:
        self._response = response
        self._provider = provider
        self._texts: dict[int, list[str]] = {}
        self._call_ids: dict[int, str] = {}  # by the index of the part

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        try:
            async for event in self._response:
                for delta in self._deltas(event):
                    yield delta
        except Exception as error:
            raise model_error(error, self._provider) from error
        if self._response.finish_reason is None:
            raise ModelError(f"{self._provider} stream closed before terminal event", provider=self._provider)

    def _deltas(self, event: Any) -> list[dict[str, Any]]:
        if isinstance(event, lib.PartStartEvent):
            return self._started(event.index, event.part)
        if isinstance(event, lib.PartDeltaEvent):
            return self._continued(event.index, event.delta)
        if isinstance(event, lib.PartEndEvent) and not isinstance(event.part, lib.TextPart | lib.ThinkingPart):
            return self._whole(event.index, event.part)
        return []

    def _whole(self, index: int, part: Any) -> list[dict[str, Any]]:
        ours = self._ours(index, part)
        return [{"index": index, **_without_meta(ours)}] if ours else []

    def _ours(self, index: int, part: Any) -> dict[str, Any] | None:
        ours = from_library(part)
        if ours is not None and isinstance(part, lib.ToolCallPart):
            ours["tool_call_id"] = self._call_id(index, part.tool_call_id)
        return ours

    def _call_id(self, index: int, given: str) -> str:
        if index not in self._call_ids:
            wanted, count = clean_text(given), 1
            while (unique := wanted if count == 1 else f"{wanted}-{count}") in self._call_ids.values():
                count += 1
            self._call_ids[index] = unique
        return self._call_ids[index]

    def _started(self, index: int, part: Any) -> list[dict[str, Any]]:
        if isinstance(part, lib.TextPart):
            return self._text(index, "text", part.content)
        if isinstance(part, lib.ThinkingPart):
            return self._text(index, "reasoning", part.content)
        if isinstance(part, lib.ToolCallPart):
            args = part.args if isinstance(part.args, str) else ""
            return [self._call_delta(index, args, self._call_id(index, part.tool_call_id), part.tool_name)]
        if isinstance(part, lib.NativeToolReturnPart):
            return self._whole(index, part)  # never continued, and its end is not told
        return []

    def _continued(self, index: int, delta: Any) -> list[dict[str, Any]]:
        if isinstance(delta, lib.TextPartDelta):
            return self._text(index, "text", delta.content_delta)
        if isinstance(delta, lib.ThinkingPartDelta):
            return self._text(index, "reasoning", delta.content_delta or "")
        if isinstance(delta, lib.ToolCallPartDelta) and isinstance(delta.args_delta, str):
            return [self._call_delta(index, delta.args_delta, self._call_ids.get(index), None)]
        return []

    def _text(self, index: int, kind: str, text: str) -> list[dict[str, Any]]:
        text = clean_text(text)
        if not text:
            return []
        self._texts.setdefault(index, []).append(text)
        return [{"type": kind, "index": index, "text": text}]

    @staticmethod
    def _call_delta(index: int, args: str, call_id: str | None, name: str | None) -> dict[str, Any]:
        delta = {"type": "tool_call_delta", "index": index, "args_delta": clean_text(args)}
        return delta | {
            key: clean_text(value) for key, value in (("tool_call_id", call_id), ("tool_name", name)) if value
        }

    def answer(self) -> ModelAnswer:
        response = self._response.get()
        parts = []
        for index, part in enumerate(response.parts):
            ours = self._ours(index, part)
            if ours is None and index in self._texts:
                ours = {"type": "text", "text": ""}
            if ours is not None:
                if index in self._texts and "text" in ours:
                    ours["text"] = "".join(self._texts[index])
                parts.append(ours)
        return ModelAnswer(parts=parts, usage=_usage(response.usage))


def _without_meta(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "meta"}


def _usage(usage: Any) -> dict[str, int]:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    counts = {name: int(getattr(usage, name, 0) or 0) for name in names}
    return {name: count for name, count in counts.items() if count or name in names[:2]}


def model_error(error: Exception, provider: str) -> ModelError:
    """The facts of whatever the library raised."""
    if isinstance(error, ModelError):
        return error
    cause = error.__cause__
    response = getattr(cause, "response", None)
    headers = dict(response.headers) if response is not None else getattr(error, "headers", None) or {}
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    message = str(error)
    if isinstance(error, exceptions.ModelConnectionError) and cause is not None:
        message = f"{message} ({cause})" if str(cause) not in message else message
        message = f"connection error: {message}"
    kind = "config" if isinstance(error, exceptions.UserError) else ""
    return ModelError(
        clean_text(message),
        provider=provider,
        status_code=status,
        retry_after=retry_after_of(headers, datetime.now(UTC)) or getattr(error, "retry_after", None) or 0.0,
        kind=kind,
    )
