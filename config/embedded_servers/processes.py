"""Processes that are not our children: are they alive, and how to end them. A zombie counts as dead, since
under a container's first process nobody may ever collect it.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

LOOK_EVERY = 0.02  # seconds


def is_alive(pid: int) -> bool:
    """Whether `pid` runs. A zombie that became our child (devtools adopts orphans) is collected."""
    try:
        if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return False
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return False


def exists(pid: int) -> bool:
    """Whether the kernel knows `pid`, be it alive, a zombie or a stranger."""
    return bool(psutil.pid_exists(pid))


def runs_with(pid: int, argument: str) -> bool:
    """Whether `pid` lives and was started with `argument`: a pid file may name a stranger by now."""
    try:
        return is_alive(pid) and argument in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def wait_until(condition: Callable[[], bool], lasts: float) -> bool:
    """Look until `condition` holds, for `lasts` seconds at most; whether it came to hold."""
    deadline = time.monotonic() + lasts
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; nothing happens if the process is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def end(pid: int, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn and wait its seconds; whether the process is gone in the end."""
    for number, lasts in steps:
        send(pid, number)
        if wait_until(lambda: not is_alive(pid), lasts):
            return True
    return False
