"""Collects descendants whose own parent is gone, such as the embedded servers, which are started as
daemons.

Usually process 1 does that, but in a container process 1 is often a program that does not, and the dead
stay in the process table. Linux only (prctl); elsewhere nothing happens.
"""

import ctypes
import os
import sys
from collections.abc import Collection
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

SET_ADOPTER_OF_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


def adopt() -> None:
    """From now on orphaned descendants become children of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_ADOPTER_OF_ORPHANS, 1, 0, 0, 0)


def collect(own: Collection[int]) -> None:
    """Remove dead adopted children from the process table, but not `own`: somebody waits for these."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)
