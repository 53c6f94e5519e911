"""One log of many processes: each line behind the role of who says it, in colour on a terminal.

Knows nothing of what the lines mean. A reader that went away is no reason to stop: what it will not read is
dropped.
"""

import os
import sys
from typing import TextIO

WIDTH = 13  # characters; "chat-worker-1"
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)  # ANSI foreground colours
OWN_ROLE = "dev"


class Console:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, int] = {OWN_ROLE: 1}

    def line(self, role: str, text: str) -> None:
        """Print one line that `role` says."""
        prefix = f"{role:<{WIDTH}} |"
        if self._in_colour:
            colour = self._colours.setdefault(role, COLOURS[len(self._colours) % len(COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            print(prefix, text, file=self._out, flush=True)
        except OSError:
            self._out = open(os.devnull, "w")  # noqa: SIM115, PTH123  (stays open for the rest of the process)

    def say(self, text: str) -> None:
        """Print what we ourselves have to say, which may be several lines."""
        for line in text.splitlines():
            self.line(OWN_ROLE, line)


def standard() -> Console:
    return Console(sys.stdout)
