"""The messages of the load: each carries a key that no other has, and decides its whole answer. Pure.

The demo model says exactly what a message tells it to, so the oracle knows each answer before it is given.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """`key` is one word; the answer says it first, then `words` numbered words, one every `pause` seconds."""

    key: str
    words: int
    pause: float

    @property
    def message(self) -> str:
        return f"{self.key} [say {self.key}] [long {self.words}] [interval {self.pause:g}]"

    @property
    def answer(self) -> str:
        return " ".join([self.key, *(f"word{n}" for n in range(1, self.words + 1))])


def key_of(text: str) -> str:
    """The key of a message or of an answer, also of one that was cut off; empty for an empty text."""
    return text.split(" ", 1)[0]
