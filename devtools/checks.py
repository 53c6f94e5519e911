"""`./dev test`: the static checks, then the test suite; with arguments, only pytest with these.

Everything runs against a data directory of its own, so a running `./dev up` is not disturbed; two test runs
at once would share its test database, so the second waits. All static checks run before a failure stops, so
that all findings are seen. This process holds the embedded servers, so they start once for all steps.
"""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from devtools import project

PYTHON = (project.PYTHON, "-m")
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"

STATIC = {
    "ruff check": (*PYTHON, "ruff", "check"),
    "ruff format --check": (*PYTHON, "ruff", "format", "--check"),
    "mypy": (*PYTHON, "mypy"),
    "lint-imports": (project.PYTHON, "-c", LINT_IMPORTS),
    "makemigrations --check": (project.PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"),
}

LONG = ("tests/integration/test_state_machine.py", "tests/integration/test_races.py")
"""Minutes of random walks and races: they ask for no speed, and give way to the others."""
REAL = ("tests/acceptance",)
"""Whole systems that start, talk and are killed: they wait more than they work."""

HELP = """\
Usage: ./dev test [PYTEST ARGUMENTS]

Without arguments: the static checks ({static}), then all tests.
With arguments: only pytest with these, for example
  ./dev test tests/unit
  ./dev test -k fence -x
  ./dev test --pytest-help        pytest's own help
Runs in its own data directory: .data/test, unless CHATD_DATA_DIR is set. Exit code 0 if all passed."""


def main(arguments: list[str]) -> int:
    if arguments in (["-h"], ["--help"]):
        print(HELP.format(static=", ".join(STATIC)))
        return 0
    arguments = ["--help" if argument == "--pytest-help" else argument for argument in arguments]
    os.environ.setdefault("CHATD_DATA_DIR", str(project.ROOT / ".data" / "test"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    data_dir = project.data_dir()
    with (data_dir / "test.lock").open("w") as lock:
        _wait_for(lock.fileno(), data_dir)
        _hold_servers(data_dir)
        if not arguments:
            failed = [name for name, command in STATIC.items() if not _step(name, command)]
            if failed:
                print(f"dev: failed: {', '.join(failed)}; the tests were not run", file=sys.stderr)
                return 1
            return 0 if _everything(data_dir) else 1
        return 0 if _step("pytest", (*PYTHON, "pytest", *arguments)) else 1


def _everything(data_dir: Path) -> bool:
    """All tests. The long and the real ones beside the others, on servers of their own."""
    apart = {**os.environ, "CHATD_DATA_DIR": str(data_dir / "apart")}
    said = data_dir / "apart.log"
    long, real = (shlex.join((*PYTHON, "pytest", "--durations=10", *paths)) for paths in (LONG, REAL))
    with said.open("w") as file:
        beside = subprocess.Popen(
            ("sh", "-c", f"nice {long}; long=$?; {real}; exit $((long + $?))"),
            cwd=project.ROOT, env=apart, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            others = (f"--ignore={path}" for path in (*LONG, *REAL))
            passed = _step("pytest", (*PYTHON, "pytest", "--durations=25", *others))
            print(f"dev: waiting for {', '.join((*LONG, *REAL))}", flush=True)
            beside.wait()
        finally:
            if beside.poll() is None:
                os.killpg(beside.pid, signal.SIGINT)  # as Ctrl-C: the tests end what they started
                beside.wait()
    print(said.read_text())
    return passed and beside.returncode == 0


def _step(name: str, command: tuple[str, ...]) -> bool:
    print(f"dev: {name}", flush=True)
    began = time.monotonic()
    passed = subprocess.run(command, cwd=project.ROOT, check=False).returncode == 0
    print(f"dev: {name} {'passed' if passed else 'FAILED'} ({time.monotonic() - began:.1f} s)\n", flush=True)
    return passed


def _hold_servers(data_dir: Path) -> None:
    from config import embedded

    postgres, redis = project.embedded_wanted()
    try:
        embedded.ensure_running(data_dir, postgres=postgres, redis=redis)
    except embedded.EmbeddedServerError as error:
        sys.exit(f"dev: {error}")


def _wait_for(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"dev: another test run uses {data_dir}; waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
