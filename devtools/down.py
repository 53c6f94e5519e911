"""`./dev down`: stops what `./dev up` started, and what one that was killed left behind.

Embedded servers that another process still uses (a shell, a test run) stay, and it says so.
"""

import argparse
import signal
from pathlib import Path

from config import embedded
from config.embedded_servers import processes
from devtools import project
from devtools.console import Console, standard
from devtools.leftovers import end_leftovers
from devtools.state import State, supervisor_lives
from devtools.supervisor import GRACE

SERVERS_LAST = 30.0  # seconds that the supervisor may need, after its children, for the embedded servers


def main(arguments: list[str]) -> int:
    argparse.ArgumentParser(
        prog="./dev down",
        description="Stop everything that ./dev up started: running answers are handed over or end within "
        "CHATD_DRAIN_TIMEOUT. Exit code 0, also if nothing runs; 1 if something does not stop.",
    ).parse_args(arguments)
    console, data_dir = standard(), project.data_dir()
    ran = supervisor_lives(data_dir)
    if ran and not _stop_supervisor(data_dir, console):
        return 1
    end_leftovers(data_dir, console, project.drain_lasts() + GRACE)
    servers_ran = any(embedded.status(data_dir).values())
    try:
        stopped = embedded.stop_if_unused(data_dir)
    except embedded.EmbeddedServerError as error:
        console.say(str(error))
        return 1
    if not stopped:
        console.say("Postgres and Redis stay: another process uses them")
    elif servers_ran:
        console.say("stopped Postgres and Redis")
    console.say("stopped" if ran else "nothing was running")
    return 0


def _stop_supervisor(data_dir: Path, console: Console) -> bool:
    state = State.load(data_dir)
    if state is None:
        console.say(f"a ./dev up holds {data_dir / 'dev.lock'} and has not said who it is; try again")
        return False
    pid = state.supervisor.pid
    console.say(f"stopping {state.url} (pid {pid})")
    processes.send(pid, signal.SIGTERM)
    lasts = project.drain_lasts() + 2 * GRACE + SERVERS_LAST
    if not processes.wait_until(lambda: not supervisor_lives(data_dir), lasts):
        console.say(f"still there after {lasts:g} s; killing it")
        processes.send(pid, signal.SIGKILL)
        return processes.wait_until(lambda: not supervisor_lives(data_dir), 10.0)
    return True
