"""A whole Chatd for a while: `./dev up --detach` with a data directory and a port of its own, for benches and tests.

Everything is the real thing, started by the same command that people use. Ends with `./dev down`, whatever happens.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devtools.ports import any_port
from devtools.project import ROOT

START_TIMEOUT = 120


class StackFailed(Exception):
    """`./dev` did not do what it was asked; the message is what it printed."""


@dataclass(frozen=True)
class Stack:
    data_dir: Path
    url: str
    token: str
    environment: dict[str, str] = field(repr=False)

    def pids(self) -> dict[str, int]:
        """Role → pid of every process that is alive."""
        found = json.loads(_dev(["status", "--json"], self.environment, check=False))
        return {row["role"]: row["pid"] for row in found if row["alive"]}

    def kill(self, role: str, sig: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process of a role; its pid."""
        pid = self.pids()[role]
        os.kill(pid, sig)
        return pid

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`manage.py` against this system."""
        command = [str(ROOT / ".venv" / "bin" / "python"), "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def log(self) -> str:
        return (self.data_dir / "dev.log").read_text()


@contextmanager
def running_stack(
    data_dir: Path, *, workers: int = 1, restart_within: float | None = None, **settings: str
) -> Iterator[Stack]:
    """A system with its own servers under `data_dir`; `settings`: variables of the environment. `StackFailed`.

    `restart_within`: seconds, for who kills its processes often.
    """
    ours = {"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "NO_COLOR": "1", **settings}
    environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **ours}
    port = any_port()
    try:
        patience = [] if restart_within is None else ["--restart-within", str(restart_within)]
        _dev(["up", "--detach", "--port", str(port), "--workers", str(workers), *patience], environment)
        credentials = json.loads((data_dir / "credentials.json").read_text())
        yield Stack(data_dir, f"http://127.0.0.1:{port}", credentials["token"], environment)
    finally:
        _dev(["down"], environment, check=False)


def _dev(arguments: list[str], environment: dict[str, str], *, check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "dev"), *arguments],
        env=environment, capture_output=True, text=True, timeout=START_TIMEOUT, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise StackFailed(f"./dev {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
