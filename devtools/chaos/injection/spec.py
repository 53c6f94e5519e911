"""What a fault run asks for, as text that may change while the run goes on.

`NAME` is read from the variable CHATD_CHAOS_NAME, or, once it exists, from the file CHATD_CHAOS_DIR/NAME: a harness
that writes the file turns faults on and off in processes that run. Write it with `tell`, which replaces it whole.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_EVERY = 0.1
"""Seconds between looks at the file."""
BEHIND_PROXIES = "chat-worker-1"
"""The process that reaches Postgres and Redis through proxies where a run has them."""


class Spec(Generic[T]):
    """The present meaning of one specification. Raises `ValueError` where it cannot be read. Threads may share it."""

    def __init__(self, name: str, parse: Callable[[str], T], environment: Mapping[str, str] = os.environ) -> None:
        self._parse = parse
        self._text = environment.get(f"CHATD_CHAOS_{name.upper()}", "")
        self._value = parse(self._text)
        directory = environment.get("CHATD_CHAOS_DIR")
        self._file = Path(directory) / name if directory else None
        self._mutex = threading.Lock()
        self._looked_at = float("-inf")

    def current(self) -> T:
        if self._file is not None and time.monotonic() - self._looked_at >= LOOK_EVERY:
            with self._mutex:
                self._look(self._file)
        return self._value

    def _look(self, file: Path) -> None:
        self._looked_at = time.monotonic()
        try:
            text = file.read_text()
        except FileNotFoundError:
            return
        if text != self._text:
            self._value = self._parse(text)
            self._text = text


def tell(directory: Path, name: str, text: str) -> None:
    """Let `text` be what is asked for from now on; processes see it within `LOOK_EVERY`."""
    unfinished = directory / f"{name}.new"
    unfinished.write_text(text)
    unfinished.replace(directory / name)


def words_in(text: str) -> list[tuple[str, str]]:
    """`a=1; b=2` as pairs. Raises `ValueError`."""
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise ValueError(f"{part!r} is not of the form NAME=VALUE")
        pairs.append((name.strip(), value.strip()))
    return pairs


def share(name: str, value: str) -> float:
    """A probability. Raises `ValueError`."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name}={value}: a share is from 0 to 1")
    return number
