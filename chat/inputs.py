"""What people and their clients send, checked before anything changes: options for the model, results of calls. Pure.

What a message may hold is in `chat/content.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictStr, TypeAdapter, ValidationError

from chat.content import MAX_TEXT, clean
from chat.errors import (
    OptionsInvalid,
    ToolResultDuplicate,
    ToolResultInvalid,
    ToolResultMissing,
    ToolResultUnexpected,
)

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class GenerationOptions(BaseModel):
    """How the model answers one turn; what is left out is as the catalogue says. Named as most providers do."""

    model_config = _STRICT

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None


def generation_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """`options` checked, without what is left out. Raises `OptionsInvalid`."""
    if not options:
        return {}
    try:
        return GenerationOptions.model_validate(dict(options)).model_dump(exclude_none=True)
    except ValidationError as error:
        raise OptionsInvalid(_first("options", error)) from None


class ToolResult(BaseModel):
    """What a client says that a call gave; `output`: any JSON value."""

    model_config = _STRICT

    tool_call_id: StrictStr
    output: JsonValue
    is_error: StrictBool = False


_results: TypeAdapter[list[ToolResult]] = TypeAdapter(list[ToolResult])


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    call: dict[str, Any]
    result: ToolResult


def answered_calls(calls: Sequence[dict[str, Any]], results: Any) -> list[AnsweredCall]:
    """Each of `calls` (tool_call parts) with its result, in the order of the calls.

    Raises `ToolResultInvalid`, `ToolResultDuplicate`, `ToolResultUnexpected`, `ToolResultMissing`.
    """
    try:
        checked = _results.validate_python(results)
    except ValidationError as error:
        raise ToolResultInvalid(_first("results", error)) from None
    by_id: dict[str, ToolResult] = {}
    for result in checked:
        _require_storable(result)
        if result.tool_call_id in by_id:
            raise ToolResultDuplicate(tool_call_id=result.tool_call_id)
        by_id[result.tool_call_id] = result
    expected = [call["tool_call_id"] for call in calls]
    if unexpected := [known for known in by_id if known not in expected]:
        raise ToolResultUnexpected(unexpected=unexpected, expected=expected)
    if missing := [known for known in expected if known not in by_id]:
        raise ToolResultMissing(missing=missing)
    return [AnsweredCall(call, by_id[call["tool_call_id"]]) for call in calls]


def _require_storable(result: ToolResult) -> None:
    try:
        size = len(json.dumps(result.output, ensure_ascii=False))
    except (RecursionError, ValueError):  # ValueError: an integer of more digits than Python writes
        size = MAX_TEXT + 1
    if size > MAX_TEXT:
        raise ToolResultInvalid(
            f"The output of {result.tool_call_id} is longer than {MAX_TEXT} characters or too deep.",
            tool_call_id=result.tool_call_id,
        )
    if clean(result.output) != result.output:
        raise ToolResultInvalid(
            f"The output of {result.tool_call_id} holds characters that cannot be stored.",
            tool_call_id=result.tool_call_id,
        )


def _first(where: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    return ".".join([where, *map(str, first["loc"])])[:200] + f": {first['msg']}"  # names may be of any length
