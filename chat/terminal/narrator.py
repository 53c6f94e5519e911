"""What a person at a terminal is told of a chat's stream: events in, pieces of text out. Pure.

While a step is streamed its parts are told as they come. When the step is committed, the committed message decides:
what was told already is not told again, what was not is told now. So a lost part or an emptied Redis costs liveness,
never text; and where a step begins anew, it says so.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Style(StrEnum):
    ANSWER = "answer"
    REASONING = "reasoning"
    CALL = "call"
    RESULT = "result"
    USER = "user"
    NOTE = "note"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Piece:
    """`begins` a line of its own, or continues the piece before it."""

    style: Style
    text: str
    begins: bool = True


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt waits."""

    reason: str
    until: datetime

    def seconds_left(self, now: datetime) -> int:
        return max(0, round((self.until - now).total_seconds()))


MAX_OUTPUT = 600
"""Characters of a tool's output that are worth a terminal's space."""
RESTARTED = (
    "The attempt was restarted, usually because its worker died: the answer begins again. "
    "What stands above was not saved."
)
AS_SAVED = "What stands above is not what was saved. The answer as it was saved:"
INTERRUPTED = "Interrupted. What was written so far is saved."
CHANGED = "The history was changed. This is how it stands now:"

ADVICE = {
    "auth": "Set the key again: manage.py add_model PROVIDER:NAME --api-key-env VAR",
    "missing_key": "Set the key: manage.py add_model PROVIDER:NAME --api-key-env VAR",
    "config": "Check the model's name and options in the catalogue, or choose another with --model PROVIDER:NAME.",
    "provider_disabled": "Enable it in the admin, or choose another with --model PROVIDER:NAME.",
    "usage_limit": "Check the account at the provider, or choose another model with --model PROVIDER:NAME.",
}
TRY_AGAIN = "Send a message to this chat to try again."

_STYLES = {
    "text": Style.ANSWER,
    "reasoning": Style.REASONING,
    "tool_call": Style.CALL,
    "tool_result": Style.RESULT,
    "source": Style.NOTE,
    "file": Style.NOTE,
}
_Segment = tuple[str, str]  # (type of part, text)


class Narrator:
    """`tell` each event in turn; what it returns belongs on the screen, in order.

    `own_message`: the stream will begin with the user message that was just typed, which needs no repetition.
    """

    def __init__(self, *, own_message: bool) -> None:
        self.retry: Retry | None = None
        """Set while the next attempt waits."""
        self._own_message = own_message
        self._told: list[_Segment] = []  # of the step that is being streamed
        self._index: int | None = None

    def tell(self, name: str, data: Mapping[str, Any]) -> list[Piece]:
        handler = getattr(self, f"_on_{name}", None)
        return list(handler(data)) if handler else []

    def _on_history_reset(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        self._forget()
        yield Piece(Style.NOTE, CHANGED)

    def _on_message(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        message = data["message"]
        parts = message["parts"]
        if message["role"] == "user":
            if not self._own_message:
                yield Piece(Style.USER, "> " + "\n> ".join(_user_text(parts).splitlines()))
            self._own_message = False
        elif message["role"] == "assistant":
            self.retry = None
            yield from self._committed([segment for part in parts if (segment := _segment(part))])
            if message["interrupted"]:
                yield Piece(Style.NOTE, INTERRUPTED)
        elif message["role"] == "tool":
            for part in parts:
                if part["type"] == "tool_result":
                    yield Piece(Style.ERROR if part["is_error"] else Style.RESULT, _result_line(part))

    def _on_message_part(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        self.retry = None
        part = data["part"]
        segment = _segment(part)
        if segment is None:
            return
        kind, text = segment
        continues = part.get("index") == self._index and bool(self._told) and self._told[-1][0] == kind
        if continues:
            self._told[-1] = kind, self._told[-1][1] + text
        else:
            self._told.append(segment)
        self._index = part.get("index")
        yield Piece(_STYLES[kind], text, begins=not continues)

    def _committed(self, segments: Sequence[_Segment]) -> Iterator[Piece]:
        told = self._told
        self._forget()
        if not _begins_with(segments, told):
            yield Piece(Style.NOTE, AS_SAVED)
            told = []
        for place, (kind, text) in enumerate(segments):
            if place >= len(told):
                yield Piece(_STYLES[kind], text)
            elif len(text) > len(told[place][1]):
                yield Piece(_STYLES[kind], text[len(told[place][1]) :], begins=False)

    def _on_preview_reset(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        if self._told:
            yield Piece(Style.NOTE, RESTARTED)
        self._forget()

    def _on_retry(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        retry = data["retry"]
        again = " The answer begins again then; what stands above was not saved." if self._told else ""
        self._forget()
        self.retry = Retry(retry["error"], datetime.fromisoformat(retry["retrying_at"]).astimezone(UTC))
        seconds = max(1, round(retry["delay_ms"] / 1000))
        yield Piece(
            Style.NOTE, f"Attempt {retry['attempt']} failed: {retry['error']} Trying again in {seconds} s.{again}"
        )

    def _on_error(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        self.retry = None
        error = data["error"]
        lines = [f"Error: {error.get('message', 'unknown')}"]
        if error.get("detail"):
            lines.append(f"The provider said: {error['detail']}")
        lines.append(ADVICE.get(error.get("kind", ""), TRY_AGAIN))
        yield Piece(Style.ERROR, "\n".join(lines))

    def _on_action_required(self, data: Mapping[str, Any]) -> Iterator[Piece]:
        calls = ", ".join(call["tool_name"] for call in data["calls"]) or "a tool"
        yield Piece(Style.NOTE, f"The chat waits for a client's results of {calls}, until {data['deadline_at']}.")

    def _forget(self) -> None:
        self._told, self._index = [], None


def _begins_with(segments: Sequence[_Segment], told: Sequence[_Segment]) -> bool:
    """Whether all but the last of `told` stand there whole, and the last one at least begins so."""
    if not told:
        return True
    if len(told) > len(segments) or list(told[:-1]) != list(segments[: len(told) - 1]):
        return False
    (kind, text), (saved_kind, saved_text) = told[-1], segments[len(told) - 1]
    return kind == saved_kind and saved_text.startswith(text)


def _segment(part: Mapping[str, Any]) -> _Segment | None:
    """A part, or a delta of one, as text; None for what is not shown (fragments of arguments, empty text)."""
    kind = part.get("type", "")
    if kind in ("text", "reasoning"):
        return (kind, part["text"]) if part["text"] else None
    if kind == "tool_call":
        return kind, f"→ {part['tool_name']}({_json(part['args'])})"
    if kind == "tool_result":
        return kind, _result_line(part)
    if kind == "source":
        return kind, f"source: {part.get('title') or ''} {part.get('url', '')}".replace("  ", " ")
    if kind == "file":
        return kind, f"file: {part.get('name') or part.get('file_id', '')}"
    return None


def _result_line(part: Mapping[str, Any]) -> str:
    output = part["output"] if isinstance(part["output"], str) else _json(part["output"])
    if len(output) > MAX_OUTPUT:
        output = f"{output[:MAX_OUTPUT]}… ({len(output)} characters)"
    return f"← {part['tool_name']}: {output}"


def _user_text(parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(segment[1] for part in parts if (segment := _segment(part)))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
