"""Messages, calls and results for a random walk: mostly such as a chat in its present state takes, some wrong.

`Digits` reads a number as many small choices: 0 is always the first and simplest, so that a step of smaller numbers is
a simpler one.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from tests.reference.world import ChatModel, Parts, Row, result_of

T = TypeVar("T")

SERVER_TOOL = "search"
TOOLS = ("ask", SERVER_TOOL, "pick")
"""Which of them the client executes is the chat's business."""
TOOL_SETS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"name": "ask", "timeout_s": 60}, {"name": "pick"}),
    ({"name": "ask"},),
    ({"name": "ask", "timeout_s": 900}, {"name": "pick", "timeout_s": 30}),
    (),
)
BAD_PARTS: tuple[Parts, ...] = (
    [],
    [{"type": "text", "text": " \n"}],
    [{"type": "tool_call", "tool_call_id": "c1", "tool_name": "ask", "args": {}}],
)
OPTIONS: tuple[dict[str, Any] | None, ...] = (None, None, None, {"temperature": 0.5}, {"seed": 7})
MODEL_NAMES = (None, None, None, None, "demo:second", "demo:demo")
ANOTHER = {"tool_call_id": "c9", "tool_name": "ask"}
"""A call that nobody made."""


class Digits:
    """Small choices out of numbers below `BIGGEST`, drawn as they are needed: a number costs more than its division."""

    BIGGEST = 2**24  # beyond, Hypothesis prefers small numbers, and the last choices would rarely be made

    def __init__(self, draw: Callable[[], int]) -> None:
        self._draw = draw
        self._rest, self._room = 0, 1

    def below(self, limit: int) -> int:
        if self._room < limit:
            self._rest, self._room = self._draw(), self.BIGGEST
        self._room //= limit
        self._rest, digit = divmod(self._rest, limit)
        return digit

    def of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def one_in(self, times: int) -> bool:
        return self.below(times) == times - 1


class Messages:
    """Every text is said once, so that no message can be taken for another."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def text(self) -> dict[str, Any]:
        return {"type": "text", "text": f"m{next(self._numbers)}"}

    def parts(self, how: Digits) -> Parts:
        """What a user says."""
        if how.one_in(32):
            return how.of(BAD_PARTS)
        file = {"type": "file", "file_id": "f1", "media_type": "image/png", "name": "a.png"}
        return [self.text(), file] if how.one_in(8) else [self.text()]

    def said(self, how: Digits) -> dict[str, Any]:
        """The arguments of a user's message."""
        said = {"parts": self.parts(how), "author": how.of(("ann", "ben")), "options": how.of(OPTIONS)}
        said["model"] = "demo:nobody" if how.one_in(40) else how.of(MODEL_NAMES)
        return {name: value for name, value in said.items() if value is not None}

    def answer(self, how: Digits, calls: int) -> Row:
        parts = [self.text()]
        for number in range(1, calls + 1):
            call = {"type": "tool_call", "tool_call_id": f"c{number}", "tool_name": how.of(TOOLS), "args": {}}
            if how.one_in(6):  # the provider executed it itself, and answers it here
                call["provider_executed"] = True
                parts += [call, result_of(call, "found")]
            else:
                parts.append(call)
        return Row("assistant", parts, model="demo:demo", usage={"output_tokens": calls}, interrupted=how.one_in(8))

    def results(self, calls: Sequence[dict[str, Any]]) -> list[Row]:
        return [Row("tool", [result_of(call, self.text()["text"])]) for call in calls]

    def compaction(self) -> list[Row]:
        call = {"type": "tool_call", "tool_call_id": "s1", "tool_name": "chat_summarized", "args": {}}
        return [
            Row("user", [self.text()], visibility="model", compressed=True),
            Row("assistant", [call], visibility="user", compressed=True),
            Row("tool", [result_of(call, {"summary": "short"})], compressed=True),
        ]

    def step(self, how: Digits, chat: ChatModel) -> list[Row]:
        """What one step commits."""
        calls = chat.outstanding()
        answer = self.answer(how, how.of((0, 1, 2, 3)))
        waiting = calls_in(answer)
        if calls:
            return how.of(
                (
                    self.results(calls), self.results(calls), self.results(calls), self.results(calls),
                    [together(self.results(calls))],
                    self.results(calls[:1]), self.results(calls[1:]),
                    [*self.results(calls), answer], [*self.results(calls), answer],
                    [*self.results(calls), answer, *self.results(waiting)],
                    [answer], self.results([ANOTHER]), self.results([*calls, calls[0]]),
                    [together(self.results([*calls, calls[0]]))], self.results([*calls, ANOTHER]),
                )
            )  # fmt: skip
        return how.of(
            (
                [answer], [answer], [answer], [answer],
                [answer, *self.results(waiting)], [answer, *self.results(waiting)],
                [answer, *self.results(waiting), self.answer(how, 0)],
                [answer, *self.results(waiting[:1])],
                self.compaction(), [*self.compaction(), answer],
                [answer, self.answer(how, 0)], self.results([ANOTHER]), [], [Row("assistant", [])],
            )
        )  # fmt: skip

    def partial(self, how: Digits, chat: ChatModel) -> list[Row]:
        """What had been streamed when a stop came: mostly with every call closed."""
        if how.one_in(8):
            return self.step(how, chat)
        answer = self.answer(how, how.of((0, 1, 2)))
        closed = self.results(chat.outstanding())
        return [*closed, *how.of(([], [answer, *self.results(calls_in(answer))], [self.answer(how, 0)]))]

    def suffix(self, how: Digits) -> list[Row]:
        answer = self.answer(how, how.of((1, 0)))
        hidden = Row("user", [self.text()], visibility="model")
        return how.of(([], [], [], [hidden], [answer], [answer, *self.results(calls_in(answer))],
                       self.results([ANOTHER]), [hidden, Row("user", [])]))  # fmt: skip

    def client_results(self, how: Digits, chat: ChatModel) -> list[dict[str, Any]]:
        """Results of the client for its calls."""
        calls = chat.client_calls() or [ANOTHER]
        right = [{"tool_call_id": call["tool_call_id"], "output": self.text()["text"]} for call in calls]
        server = [call for call in chat.outstanding() if call not in calls]
        right[0] |= how.of(({}, {"is_error": True}, {"is_error": False}, {"output": {"picked": [1, None]}}))
        return how.of(
            (
                right, right, right, right[::-1], right, right,
                right[1:], [], [*right, right[0]], [*right, {"tool_call_id": "c9", "output": 1}],
                [*right, *({"tool_call_id": call["tool_call_id"], "output": 1} for call in server[:1])],
                [*right[1:], {"output": 1}], [*right[1:], {"tool_call_id": 7, "output": 1}],
            )
        )  # fmt: skip


def calls_in(answer: Row) -> list[dict[str, Any]]:
    return [part for part in answer.parts if part["type"] == "tool_call" and not part.get("provider_executed")]


def together(results: list[Row]) -> Row:
    return Row("tool", [part for row in results for part in row.parts])
