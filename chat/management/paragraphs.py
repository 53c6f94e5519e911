"""Labelled sentences on a terminal: a column of labels, and beside it the text, wrapped to the terminal's width.

Into a pipe each goes on one line, to be searched. Colours only on a terminal, and not where NO_COLOR is set.
"""

import os
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence

from django.core.management.base import BaseCommand, OutputWrapper
from django.core.management.color import no_style

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
WIDEST = 110
"""Columns: longer lines are hard to read."""
Look = Callable[[str], str]


class Paragraphs:
    """`labels`: the widths of the columns that precede the text; `colors`: asked for, whatever NO_COLOR says."""

    def __init__(self, command: BaseCommand, labels: Sequence[int], *, colors: bool = False) -> None:
        self._out: OutputWrapper = command.stdout
        self.style = no_style() if os.environ.get("NO_COLOR") and not colors else command.style
        self._labels = labels
        self._width = min(shutil.get_terminal_size().columns, WIDEST) if command.stdout.isatty() else None

    def write(self, labels: Sequence[str], *texts: str, look: Look = str) -> None:
        """The labels (the first one with `look`), and beside them each text as a paragraph."""
        indent = sum(self._labels)
        head = "".join(label.ljust(width) for label, width in zip(labels, self._labels, strict=True))
        body = [line for text in texts if text for line in self._wrapped(text, indent)]
        first = labels[0]
        lines = [look(first) + (head + body[0])[len(first) :]] + [" " * indent + line for line in body[1:]]
        self._out.write("\n".join(line.rstrip() for line in lines))
        self._out.flush()

    def _wrapped(self, text: str, indent: int) -> list[str]:
        """What came from outside (titles, errors) cannot move the cursor."""
        text = _CONTROL.sub(" ", text)
        if self._width is None:
            return [text]
        return textwrap.wrap(text, max(20, self._width - indent), break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
