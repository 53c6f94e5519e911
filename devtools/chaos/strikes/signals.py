"""Signals to single processes of the system under test, by the pids that its supervisor wrote down."""

import asyncio
import os
import time
from contextlib import suppress

from config.embedded_servers import processes

GONE_WITHIN = 30.0
"""Seconds, beyond what a process may take to drain."""


def send(pid: int, number: int) -> float:
    """Send a signal; when, in seconds since the epoch. Another blow may have been faster."""
    at = time.time()
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return at


async def gone(pid: int, within: float = GONE_WITHIN) -> None:
    """Wait until the kernel has ended the process: until then it looks as if nothing had happened."""
    await asyncio.to_thread(processes.wait_until, lambda: not processes.is_alive(pid), within)
