"""One child process in a session of its own: started, heard, watched until it is ready, signalled.

A child is tethered (`tether.py`): it does not outlive this process. Its session keeps the terminal's Ctrl-C
away from it, so that only the supervisor decides in which order things end.
Knows nothing of restarts, nor of other children.
"""

import asyncio
import http.client
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from devtools.programs import Program
from devtools.project import PYTHON, ROOT

LINES_KEPT = 30
ASK_EVERY = 0.1  # seconds
SETTLED_AFTER = 2.0  # seconds; a child that shows no sign counts as ready when it has lived so long
LAST_WORDS_LAST = 2.0  # seconds
LONGEST_LINE = 1024 * 1024  # bytes; a longer one is printed in pieces


class Child:
    """One life after the other of one program; `ready` and `pid` are about the present one."""

    def __init__(self, program: Program, environment: Mapping[str, str], hear: Callable[[str, str], None]) -> None:
        self.program = program
        self.ready = asyncio.Event()
        self.pid: int | None = None
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._environment = {**environment, "CHATD_PROCESS": program.role}
        self._hear = hear

    async def live(self, started: Callable[["Child", int], None]) -> tuple[int, float]:
        """Start it, call `started`, hear it until it ends. Returns the exit code (negative: the signal) and
        its age.
        """
        self.ready.clear()
        began = time.monotonic()
        output, stdout = os.pipe()  # ours, because asyncio's own waits for whoever else holds a pipe of its making
        try:
            process = await asyncio.create_subprocess_exec(
                *(PYTHON, "-m", "devtools.tether", str(os.getpid())),
                *(PYTHON, "-m", *self.program.arguments),
                cwd=ROOT,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stdout,
                start_new_session=True,
            )
        finally:
            os.close(stdout)
        self.pid = process.pid
        started(self, process.pid)
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(self._hear_all(output))
            asking = group.create_task(self._ask_until_ready())
            code = await process.wait()
            self.signal(signal.SIGKILL)  # what the child itself had started goes with it
            self.pid = None
            asking.cancel()
            with suppress(TimeoutError):  # somebody may have left the session and hold the pipe
                await asyncio.wait_for(hearing, LAST_WORDS_LAST)
        return code, time.monotonic() - began

    def showed_that_it_is_up(self) -> bool:
        """Whether its present or last life gave a sign of readiness; having settled is none."""
        program = self.program
        return self.ready.is_set() and bool(program.says_when_ready or program.answers_when_ready)

    def signal(self, number: signal.Signals) -> None:
        """Send to the child and whatever it started; nothing happens if it is gone."""
        if self.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _hear_all(self, output: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(output, "rb")
        )
        rest = b""
        try:
            while chunk := await stream.read(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    lines.append(rest)
                    rest = b""
                for line in lines:
                    self._heard(line.decode(errors="replace").rstrip())
        finally:
            transport.close()
            if rest:
                self._heard(rest.decode(errors="replace").rstrip())

    def _heard(self, line: str) -> None:
        self.last_lines.append(line)
        self._hear(self.program.role, line)
        if self.program.says_when_ready and self.program.says_when_ready in line:
            self.ready.set()

    async def _ask_until_ready(self) -> None:
        if self.program.answers_when_ready:
            while not await asyncio.to_thread(answers, self.program.answers_when_ready):  # noqa: ASYNC110  (HTTP has no event)
                await asyncio.sleep(ASK_EVERY)
            self.ready.set()
        elif not self.program.says_when_ready:
            await asyncio.sleep(SETTLED_AFTER)
            self.ready.set()


def answers(url: str) -> bool:
    """Whether a GET of it gives 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
