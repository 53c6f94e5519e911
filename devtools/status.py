"""`./dev status`: who runs, as the state file says and the kernel confirms."""

import argparse
import json
import time
from pathlib import Path

from config import embedded
from devtools import project
from devtools.state import Process, State, supervisor_lives

ALL_ALIVE, SOME_DEAD, NOT_RUNNING = 0, 1, 3

Row = dict[str, str | int | float | bool | None]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev status",
        description="Each process of ./dev up with its role and pid. "
        "Exit code: 0 all alive, 1 some are not (they are being restarted), 3 not running.",
    )
    parser.add_argument("--json", action="store_true", help="a list of {role, pid, alive, uptime_s}")
    options = parser.parse_args(arguments)
    data_dir = project.data_dir()
    state = State.load(data_dir) if supervisor_lives(data_dir) else None
    rows = [_row(process) for process in [state.supervisor, *state.children]] if state else []
    rows += _servers(data_dir, expected=state is not None)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows, state)
    if state is None:
        return NOT_RUNNING
    return ALL_ALIVE if all(row["alive"] for row in rows) else SOME_DEAD


def _row(process: Process) -> Row:
    alive = process.is_alive()
    uptime = round(time.time() - process.started_at, 1) if alive else None
    return {"role": process.role, "pid": process.pid, "alive": alive, "uptime_s": uptime}


def _servers(data_dir: Path, *, expected: bool) -> list[Row]:
    """The embedded servers; where nothing is expected to run, only those that do."""
    rows: list[Row] = []
    found = embedded.status(data_dir)
    for name, wanted in zip(("postgres", "redis"), project.embedded_wanted(), strict=True):
        pid = found[name]
        if wanted and pid is not None:
            rows.append(_row(Process.of(name, pid)))
        elif wanted and expected:
            rows.append({"role": name, "pid": None, "alive": False, "uptime_s": None})
    return rows


def _print_table(rows: list[Row], state: State | None) -> None:
    print(f"{state.url} {'is ready' if state.ready else 'is starting'}" if state else "./dev up is not running")
    for row in rows:
        alive = f"up {row['uptime_s']} s" if row["alive"] else "not alive"
        print(f"  {row['role']:<14} {row['pid'] or '-':>8}   {alive}")
