"""Finds directives in a prompt and separates them from prose and quotations.

Pure. Knows which words begin a directive, not what they mean (`directives` does). Never fails: what does not
look like a directive, or is not closed, is prose.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_OPENING = re.compile(
    r"\[(?P<keyword>say|think|long|chunks|call|interval|first token after|stall|cut|error after|fail)\s"
    r"|\[(?P<bare>at once|then)(?=\])"
)
_TICKS = re.compile(r"`+")
_TAG = re.compile(r"<([A-Za-z][\w-]*)>")
_INTERESTING = re.compile(r"\[|`|<")
_BRACKET = re.compile(r"[\[\]]")
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive as written: `[long 20]` has the keyword "long" and the argument "20"."""

    keyword: str
    argument: str


def find_directives(prompt: str) -> tuple[list[Directive], str]:
    """Return the directives in their order, and the prose that is left without them."""
    if not _OPENING.search(prompt):
        return [], prompt
    directives: list[Directive] = []
    prose: list[str] = []
    position = 0
    while found := _INTERESTING.search(prompt, position):
        prose.append(prompt[position : found.start()])
        position = found.start()
        if end := _end_of_quotation(prompt, position):
            pass
        elif (opening := _OPENING.match(prompt, position)) and (end := _end_of_directive(prompt, opening)):
            keyword = opening["keyword"] or opening["bare"]
            directives.append(Directive(keyword, prompt[opening.end() : end - 1]))
            position = end
            continue
        else:
            end = position + 1
        prose.append(prompt[position:end])
        position = end
    prose.append(prompt[position:])
    return directives, "".join(prose)


def _end_of_directive(prompt: str, opening: re.Match[str]) -> int:
    """The position after the closing bracket, or 0; brackets inside a call's JSON do not count."""
    position = opening.end()
    if opening["keyword"] == "call" and (brace := prompt.find("{", position)) >= 0:
        try:
            if "]" not in prompt[position:brace]:
                position = _JSON.raw_decode(prompt, brace)[1]
        except (ValueError, RecursionError):
            pass  # not JSON: `directives` will say so
    depth = 1
    for bracket in _BRACKET.finditer(prompt, position):
        depth += 1 if bracket[0] == "[" else -1
        if depth == 0:
            return bracket.end()
    return 0


def _end_of_quotation(prompt: str, position: int) -> int:
    """The position after a closed `quotation`, ```fence``` or <tag>element</tag> that begins here, or 0."""
    if ticks := _TICKS.match(prompt, position):
        closing = ticks[0]
        start = ticks.end()
    elif tag := _TAG.match(prompt, position):
        closing = f"</{tag[1]}>"
        start = tag.end()
    else:
        return 0
    found = prompt.find(closing, start)
    return found + len(closing) if found >= 0 else 0
