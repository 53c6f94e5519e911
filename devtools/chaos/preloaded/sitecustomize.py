"""Lets a signal block a chat worker, from outside: Python imports this file at its start where PYTHONPATH names its
folder, which only the stacks of the fault suite do. The project's own code knows nothing of it.

SIGRTMIN+1 blocks the event loop, whose other threads go on; SIGRTMIN+2 the whole interpreter. For how long, the file
that CHATD_CHAOS_BLOCK_FOR names says, in seconds. What was done is said on standard error.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

LOOP, INTERPRETER = signal.SIGRTMIN + 1, signal.SIGRTMIN + 2


def _seconds() -> float:
    return float(Path(os.environ["CHATD_CHAOS_BLOCK_FOR"]).read_text())


def _say(what: str, seconds: float) -> None:
    print(json.dumps({"event": what, "pid": os.getpid(), "seconds": seconds}), file=sys.stderr, flush=True)


def _block_loop(*_: Any) -> None:
    worker = getattr(sys.modules.get("chatworker.bootstep"), "_worker", None)
    loop = getattr(worker, "_loop", None)
    if loop is not None:
        seconds = _seconds()
        loop.call_soon_threadsafe(time.sleep, seconds)
        _say("chaos.loop_blocked", seconds)


def _block_interpreter(*_: Any) -> None:
    seconds = _seconds()
    _say("chaos.interpreter_blocked", seconds)
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))  # a PyDLL call keeps the interpreter's lock


if os.environ.get("CHATD_PROCESS", "").startswith("chat-worker") and "CHATD_CHAOS_BLOCK_FOR" in os.environ:
    signal.signal(LOOP, _block_loop)
    signal.signal(INTERPRETER, _block_interpreter)
