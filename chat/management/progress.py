"""How far a long command is: one line on standard error that is written over, or in a pipe a line every few seconds."""

import time
from collections.abc import Callable
from typing import Any

SHOWN_EVERY, SAID_EVERY = 0.2, 5.0
"""Seconds between two looks at a terminal, and between two lines in a pipe."""


class Progress:
    """`err`: Django's wrapper of standard error. `what`: "chats archived". Use as a context manager."""

    def __init__(
        self, err: Any, what: str, *, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._err, self._what, self._total, self._clock = err, what, total, clock
        self._on_terminal = err.isatty()
        self._begun = self._said = clock()
        self._width = 0
        self.done = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._err.write("\r" + " " * self._width + "\r", ending="")
            self._err.flush()

    def advance(self, number: int) -> None:
        """So many more are done."""
        self.done += number
        now = self._clock()
        if now - self._said < (SHOWN_EVERY if self._on_terminal else SAID_EVERY):
            return
        self._said = now
        if self._on_terminal:
            line = self._line(now)
            self._err.write("\r" + line.ljust(self._width), ending="")
            self._width = len(line)
        else:
            self._err.write(self._line(now))
        self._err.flush()

    def _line(self, now: float) -> str:
        rate = self.done / max(now - self._begun, 1e-9)
        of = f" of {self._total:,}" if self._total is not None else ""
        return f"{self.done:,}{of} {self._what} ({rate:,.0f}/s)"
