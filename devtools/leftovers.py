"""Ends what a supervisor left behind that was killed: the children its state file lists, if they still
live.
"""

import signal
from pathlib import Path

from config.embedded_servers import processes
from devtools.console import Console
from devtools.state import State


def end_leftovers(data_dir: Path, console: Console, lasts: float) -> None:
    """SIGTERM to all, up to `lasts` seconds for them, then SIGKILL. Call only while no supervisor lives."""
    state = State.load(data_dir)
    left = [child for child in state.children if child.is_alive()] if state else []
    if left:
        console.say(f"ending {len(left)} processes that a killed ./dev up left behind")
        for child in left:
            processes.send(child.pid, signal.SIGTERM)
        processes.wait_until(lambda: not any(child.is_alive() for child in left), lasts)
        for child in left:
            if child.is_alive():
                processes.end(child.pid, [(signal.SIGKILL, 10.0)])
    State.forget(data_dir)
