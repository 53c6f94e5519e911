"""The sentences the demo model says of its own accord, and how a text is split into chunks.

Pure and deterministic: the same prompt gets the same words.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

from demomodel.conversation import ToolResult

_GREETING = re.compile(r"\s*(hello|hi|hey|hallo|good (morning|afternoon|evening|day))\b", re.IGNORECASE)
_WORD = re.compile(r"\s*\S+(?:\s+$)?")

GREETING = (
    "Hello! I am the demo model that comes with Chatd. I need no key and no network, so everything here can "
    "be tried at once. Ask me anything, or script my answer with a directive in square brackets: "
    "`[long 200]` for many words, `[think hmm]` for reasoning, `[fail 500 times 2]` for a fault."
)
OPENINGS = (
    "You asked: “{}”",
    "Here is what I understood: “{}”",
    "Your message was: “{}”",
    "Let me repeat that: “{}”",
)
ADVICE = (
    "I am the demo model, so I know nothing about it: my answer depends on your words alone and is the same "
    "every time. To script it, write a directive in square brackets, such as `[long 200]` or "
    "`[stall after 10]`."
)
EMPTY = "Your message has no text that I can read."
EXPLANATION = (
    "I could not understand the directive `{}`: {}. Directives look like `[say TEXT]`, `[long 200]`, "
    '`[think TEXT]`, `[chunks 5]`, `[call NAME {{"key": 1}}]`, `[at once]`, `[interval 0.5]`, '
    "`[first token after 2]`, `[stall after 10]`, `[cut after 10]`, `[error after 10]` and "
    "`[fail 429 retry-after 2 times 1]`."
)


def reply_to(prose: str, tools: Sequence[str] = ()) -> str:
    """A greeting, or a short paragraph that restates the prompt; 20 to 80 words."""
    words = prose.split()
    if not words:
        return f"{EMPTY} {ADVICE}"
    if _GREETING.match(prose) and len(words) <= 4:
        return GREETING
    quoted = " ".join(_shortened(word, 40) for word in words[:20]) + (" …" if len(words) > 20 else "")
    opening = OPENINGS[zlib.crc32(" ".join(words).encode("utf-8", "replace")) % len(OPENINGS)].format(quoted)
    offered = f" I could call {tools[0]}: `[call {_shortened(tools[0], 64)} {{}}]`." if tools else ""
    return f"{opening}\n\n{ADVICE}{offered}"


def reply_to_results(results: Sequence[ToolResult]) -> str:
    """What the tools answered, in one sentence each."""
    sentences = (f"{result.tool_name} answered: {_shortened(result.output, 300)}" for result in results)
    return "The tools have answered.\n\n" + "\n".join(sentences)


def explain(directive: str, reason: str) -> str:
    """Why a directive was not understood, and what directives look like."""
    return EXPLANATION.format(_shortened(directive, 80).replace("`", "'"), reason)


def numbered_words(count: int) -> str:
    """`word1 word2 … wordN`: a gap or a doubling shows."""
    return " ".join(f"word{number}" for number in range(1, count + 1))


def by_words(text: str) -> tuple[str, ...]:
    """Word-sized chunks that join to exactly the text."""
    return tuple(_WORD.findall(text)) or ((text,) if text else ())


def in_chunks(text: str, count: int) -> tuple[str, ...]:
    """At most `count` chunks of nearly equal length, none empty, that join to exactly the text."""
    count = min(count, len(text))
    edges = [len(text) * number // count for number in range(count + 1)] if count else []
    return tuple(text[start:end] for start, end in pairwise(edges))


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
