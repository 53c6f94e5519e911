"""What each directive means: a table from keyword to a short function that changes the draft of a script.

Pure. The grammar is documented in the package's docstring. A directive that cannot be read raises `Malformed`
with the reason; `answer` turns that into a sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from demomodel import wording
from demomodel.scanning import Directive
from demomodel.script import Ending, Failure, Script, ToolCall

MOST_WORDS = 100_000
LONGEST_PAUSE = 3600.0

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,9})?", re.ASCII)
_AFTER = re.compile(r"after\s+(\S+)")
_FAIL = re.compile(r"([45]\d\d)((?:\s+(?:retry-after|times|code)\s+\S+)*)", re.ASCII)
_FAIL_OPTION = re.compile(r"(retry-after|times|code)\s+(\S+)", re.ASCII)
_CODE = re.compile(r"[\w.-]{1,64}", re.ASCII)
_CALL = re.compile(r"(?:(?P<manner>broken|doubled)\s+)?(?P<name>[\w.:-]{1,128})(?:\s+(?P<arguments>\{.*))?", re.S)

BROKEN_ARGUMENTS = '{"broken": "these arguments are not'


class Malformed(Exception):
    """The directive's argument is not what the directive needs; the message says what it needs."""


@dataclass(slots=True)
class Draft:
    """A script while its directives are read."""

    says: list[str] = field(default_factory=list)
    thinks: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    chunks: int | None = None
    interval: float | None = None
    first_token_after: float = 0.0
    ending: Ending = Ending.COMPLETE
    ends_after: int = 0
    failure: Failure | None = None

    def script(self, otherwise: Callable[[], str]) -> Script:
        """The finished script; it says `otherwise()` if no directive said or called anything."""
        text = " ".join(self.says) if self.says or self.calls else otherwise()
        return Script(
            text=wording.by_words(text) if self.chunks is None else wording.in_chunks(text, self.chunks),
            reasoning=wording.by_words(" ".join(self.thinks)),
            calls=tuple(self.calls),
            first_token_after=self.first_token_after,
            interval=self.interval,
            ending=self.ending,
            ends_after=self.ends_after,
            failure=self.failure,
        )


def apply_directive(draft: Draft, directive: Directive) -> None:
    """Change the draft as the directive says.

    Raises:
        Malformed: its argument cannot be read.
    """
    _MEANINGS[directive.keyword](draft, directive.argument)


def _say(draft: Draft, argument: str) -> None:
    draft.says.append(argument)


def _long(draft: Draft, argument: str) -> None:
    draft.says.append(wording.numbered_words(_number(argument, most=MOST_WORDS)))


def _think(draft: Draft, argument: str) -> None:
    draft.thinks.append(argument)


def _chunks(draft: Draft, argument: str) -> None:
    draft.chunks = _number(argument, least=1, most=MOST_WORDS)


def _call(draft: Draft, argument: str) -> None:
    match = _CALL.fullmatch(argument.strip())
    if not match:
        raise Malformed("it needs the name of a tool and then its arguments as a JSON object")
    name, manner = match["name"], match["manner"]
    if manner == "broken":
        draft.calls.append(ToolCall(name, BROKEN_ARGUMENTS))
        return
    arguments = match["arguments"] or "{}"
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        raise Malformed("its arguments are not a JSON object") from None
    draft.calls.append(ToolCall(name, arguments))
    if manner == "doubled":
        draft.calls.append(ToolCall(name, arguments, repeats_id=True))


def _at_once(draft: Draft, argument: str) -> None:
    draft.interval = 0.0


def _interval(draft: Draft, argument: str) -> None:
    draft.interval = _seconds(argument)


def _first_token_after(draft: Draft, argument: str) -> None:
    draft.first_token_after = _seconds(argument)


def _ends(ending: Ending) -> Callable[[Draft, str], None]:
    def end_early(draft: Draft, argument: str) -> None:
        match = _AFTER.fullmatch(argument.strip()) if ending is not Ending.ERROR else None
        draft.ends_after = _number(match[1] if match else argument, most=MOST_WORDS)
        draft.ending = ending

    return end_early


def _fail(draft: Draft, argument: str) -> None:
    match = _FAIL.fullmatch(argument.strip())
    if not match:
        raise Malformed("it needs a status from 400 to 599, then any of retry-after S, times N, code WORD")
    options = dict(_FAIL_OPTION.findall(match[2]))
    if "retry-after" in options:
        _seconds(options["retry-after"])
    if "code" in options and not _CODE.fullmatch(options["code"]):
        raise Malformed("a code is letters, digits, dots, dashes and underscores")
    draft.failure = Failure(
        status=int(match[1]),
        code=options.get("code"),
        retry_after=options.get("retry-after"),
        times=_number(options["times"]) if "times" in options else None,
    )


_MEANINGS: dict[str, Callable[[Draft, str], None]] = {
    "say": _say,
    "long": _long,
    "think": _think,
    "chunks": _chunks,
    "call": _call,
    "at once": _at_once,
    "interval": _interval,
    "first token after": _first_token_after,
    "stall": _ends(Ending.STALL),
    "cut": _ends(Ending.CUT),
    "error after": _ends(Ending.ERROR),
    "fail": _fail,
}


def _number(argument: str, *, least: int = 0, most: int = MOST_WORDS) -> int:
    if not _NUMBER.fullmatch(argument.strip()) or not least <= int(argument) <= most:
        raise Malformed(f"it needs a whole number from {least} to {most}")
    return int(argument)


def _seconds(argument: str) -> float:
    if not _SECONDS.fullmatch(argument.strip()) or float(argument) > LONGEST_PAUSE:
        raise Malformed(f"it needs seconds from 0 to {LONGEST_PAUSE:.0f}")
    return float(argument)
