"""The ways to tell a chat's stream: as it comes, as one JSON object per event, or only its end."""

import json
from datetime import UTC, datetime
from typing import Any

from chat.terminal.narrator import INTERRUPTED, Narrator, Piece, Style
from chat.terminal.printer import Output, Printer

WAITING = "waiting for the answer …"


class Memory:
    """What a stream amounts to: the last answer, and whether the turn was interrupted by anybody."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None
        self.interrupted = False

    def event(self, name: str, data: dict[str, Any]) -> None:
        role = data["message"]["role"] if name == "message" else ""
        if name == "history_reset" or role == "user":
            self.answer, self.interrupted = None, False
        elif role == "assistant":
            self.answer = data["message"]
            self.interrupted = self.interrupted or data["message"]["interrupted"]
        elif name == "status" and data["status"] == "interrupting":
            self.interrupted = True

    @property
    def text(self) -> str:
        parts = self.answer["parts"] if self.answer else []
        return "\n\n".join(part["text"] for part in parts if part["type"] == "text")


class Story(Memory):
    """As it comes, for people."""

    def __init__(self, printer: Printer, *, own_message: bool) -> None:
        super().__init__()
        self._printer = printer
        self._narrator = Narrator(own_message=own_message)
        printer.waiting(WAITING)

    def event(self, name: str, data: dict[str, Any]) -> None:
        super().event(name, data)
        self._printer.show(self._narrator.tell(name, data))

    def tick(self) -> None:
        retry = self._narrator.retry
        left = retry.seconds_left(datetime.now(UTC)) if retry else 0
        self._printer.waiting(f"trying again in {left} s …" if left else WAITING)

    def hint(self, text: str) -> None:
        self._printer.hint(text)


class JsonLines(Memory):
    """One object per event, for programs: the event's name as `event`, and its data."""

    def __init__(self, out: Output, printer: Printer) -> None:
        super().__init__()
        self._out = out
        self._printer = printer

    def event(self, name: str, data: dict[str, Any]) -> None:
        super().event(name, data)
        print_json(self._out, {"event": name, **data})

    def tick(self) -> None:
        pass

    def hint(self, text: str) -> None:
        self._printer.hint(text)


class OnlyTheEnd(Memory):
    """Nothing until the chat rests; errors as soon as they are known."""

    def __init__(self, printer: Printer, *, errors: bool) -> None:
        super().__init__()
        self._printer = printer
        self._narrator = Narrator(own_message=True)
        self._errors = errors

    def event(self, name: str, data: dict[str, Any]) -> None:
        super().event(name, data)
        if self._errors and name in ("error", "action_required"):
            self._printer.show(self._narrator.tell(name, data))

    def tick(self) -> None:
        if self._errors:
            self._printer.waiting(WAITING)

    def hint(self, text: str) -> None:
        self._printer.hint(text)

    def print_answer(self) -> None:
        if self.text:
            self._printer.show([Piece(Style.ANSWER, self.text)])
        if self.answer and self.answer["interrupted"]:
            self._printer.show([Piece(Style.NOTE, INTERRUPTED)])


def print_json(out: Output, value: dict[str, Any]) -> None:
    out.write(json.dumps(value, ensure_ascii=False, default=str), style_func=str, ending="\n")
    out.flush()
