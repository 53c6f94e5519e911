"""Pieces of text on a terminal, or into a pipe.

On a terminal everything goes to one place, in colours, and a transient line says what is being waited for. Into a pipe
goes the answer alone, as it comes; everything else goes to standard error. What a model writes cannot move the cursor
or change colours: control characters are shown, not obeyed.
"""

import io
import re
from collections.abc import Callable, Iterable
from typing import IO, Protocol, cast

from rich.console import Console
from rich.text import Text

from chat.terminal.narrator import Piece, Style

_LOOKS = {
    Style.ANSWER: "",
    Style.REASONING: "dim italic",
    Style.CALL: "cyan",
    Style.RESULT: "green",
    Style.USER: "bold",
    Style.NOTE: "yellow",
    Style.ERROR: "bold red",
}
_INLINE = (Style.ANSWER, Style.REASONING)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ERASE_LINE = "\r\x1b[2K"


class Output(Protocol):
    """What Django hands to a command as stdout and stderr."""

    def write(
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


class _Stream(io.TextIOBase):
    """An `Output` that ends no lines of its own accord and knows whether a line is begun."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.in_line = False

    def write(self, text: str) -> int:
        if text:
            self._output.write(text, style_func=str, ending="")  # Django would make all of stderr red
            self.in_line = not text.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self._output.flush()

    def isatty(self) -> bool:
        return self._output.isatty()

    def end_line(self) -> None:
        if self.in_line:
            self.write("\n")


class Printer:
    """`colors`: True and False overrule what the streams say of themselves."""

    def __init__(self, out: Output, err: Output, *, colors: bool | None = None) -> None:
        self._out, self._err = _Stream(out), _Stream(err)
        self._on_terminal = _console(self._out, colors)
        self._err_on_terminal = _console(self._err, colors)
        self._transient = False

    def show(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.waiting("")
            stays_here = self._on_terminal is not None or piece.style is Style.ANSWER
            stream = self._out if stays_here else self._err
            if piece.begins:
                stream.end_line()
            self._write(stream, self._on_terminal if stays_here else self._err_on_terminal, piece)
            if piece.style not in _INLINE:
                stream.end_line()
            stream.flush()

    def hint(self, text: str) -> None:
        """Something about the surroundings, never part of the answer: standard error."""
        self.waiting("")
        if self._on_terminal is not None:
            self._out.end_line()
            self._out.flush()
        self._err.end_line()
        self._write(self._err, self._err_on_terminal, Piece(Style.NOTE, text))
        self._err.end_line()
        self._err.flush()

    def waiting(self, text: str) -> None:
        """A line that goes away as soon as something is printed, on a terminal only; "": none."""
        if self._on_terminal is None or not (text or self._transient) or (text and self._out.in_line):
            return
        self._out.write(_ERASE_LINE if self._transient else "")
        self._transient = bool(text)
        if text:
            line = Text(text, style="dim")
            line.truncate(max(10, self._on_terminal.width - 1), overflow="ellipsis")
            self._on_terminal.print(line, end="", soft_wrap=True)
        self._out.in_line = False
        self._out.flush()

    def close(self) -> None:
        self.waiting("")
        for stream in (self._out, self._err):
            stream.end_line()
            stream.flush()

    @staticmethod
    def _write(stream: _Stream, console: Console | None, piece: Piece) -> None:
        if console is None:
            stream.write(piece.text)
        else:
            text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", piece.text.replace("\r\n", "\n"))
            console.print(Text(text, style=_LOOKS[piece.style]), end="", soft_wrap=True)


def _console(stream: _Stream, colors: bool | None) -> Console | None:
    """None for what is no terminal."""
    if not (stream.isatty() or colors):
        return None
    return Console(
        file=cast(IO[str], stream), force_terminal=True, no_color=colors is False, highlight=False, markup=False
    )
