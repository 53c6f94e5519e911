"""`./dev up --detach`: the same supervisor in the background, followed here until it is ready or gone.

The background process writes `.data/dev.log`, has a session of its own and needs no terminal.
On failure: its lines were printed as they came; exit code 1. Ctrl-C while waiting stops it.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from config.embedded_servers.layout import rotate
from devtools.project import PYTHON, ROOT
from devtools.state import State

LOOK_EVERY = 0.05  # seconds


def main(data_dir: Path, options: list[str]) -> int:
    log = data_dir / "dev.log"
    rotate(log)
    log.touch(mode=0o600)  # the first password is printed
    with log.open("a") as out:
        out.flush()
        background = subprocess.Popen(
            [PYTHON, "-m", "devtools", "up", *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        begins = log.stat().st_size
    with log.open(errors="replace") as lines:
        lines.seek(begins)
        try:
            return _follow(background, lines, data_dir)
        except KeyboardInterrupt:
            background.terminate()
            background.wait()
            _print_new(lines)
            return 130


def _follow(background: "subprocess.Popen[bytes]", lines: TextIO, data_dir: Path) -> int:
    while True:
        code = background.poll()
        state = State.load(data_dir)
        ready = state is not None and state.ready and state.supervisor.pid == background.pid
        _print_new(lines)
        if code is not None:
            return code or 1
        if ready:
            print(f"dev: in the background (pid {background.pid}), log in {lines.name}; `./dev down` stops it")
            return 0
        time.sleep(LOOK_EVERY)


def _print_new(lines: TextIO) -> None:
    sys.stdout.write(lines.read())
    sys.stdout.flush()
