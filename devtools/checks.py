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
from contextlib import ExitStack
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

SYSTEMS = ("tests/acceptance",)
"""Whole systems that start, talk and are killed: they wait more than they work."""
PROCESSES = (
    "tests/browser",
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "beat", "chat_doctor", "injection_crash_points", "injection_database", "injection_hints", "injection_proxy",
            "injection_stalls", "limits_of_time", "retention_commands", "worker_signals",
        )
    ),
)  # fmt: skip
"""Tests that start processes or let time-outs pass: they wait as well."""
LONG: tuple[str, ...] = ("tests/integration/test_state_machine.py", "tests/integration/test_races.py")
"""Minutes of random walks and races: they ask for no speed, and give way to the others."""
BESIDE: dict[str, tuple[tuple[str, ...], ...]] = {"systems": (SYSTEMS,), "processes": (PROCESSES, LONG)}
"""What runs beside the ordinary tests, each on servers of its own: one pytest after the other."""

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
    """All tests: the ordinary ones, and what waits more than it works beside them."""
    with ExitStack() as running:
        beside = [running.enter_context(_Beside(name, data_dir / name)) for name in BESIDE]
        apart = (f"--ignore={path}" for groups in BESIDE.values() for paths in groups for path in paths)
        passed = _step("pytest", (*PYTHON, "pytest", "--durations=25", *apart))
        codes = [one.wait() for one in beside]
    return passed and not any(codes)


class _Beside:
    """Tests that run beside others; what they say is shown when they are over."""

    def __init__(self, name: str, data_dir: Path) -> None:
        self._name, self._said = name, data_dir.with_suffix(".log")
        self._environment = {**os.environ, "CHATD_DATA_DIR": str(data_dir)}
        nice = {LONG: "nice "}
        runs = [
            nice.get(paths, "") + shlex.join((*PYTHON, "pytest", "--durations=10", *paths)) for paths in BESIDE[name]
        ]
        self._script = "code=0; " + "".join(f"{run} || code=$?; " for run in runs) + "exit $code"

    def __enter__(self) -> "_Beside":
        with self._said.open("w") as file:
            self._process = subprocess.Popen(
                ("sh", "-c", self._script),
                cwd=project.ROOT, env=self._environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)  # as Ctrl-C: the tests end what they started
            self._process.wait()

    def wait(self) -> int:
        """The exit code."""
        print(f"dev: waiting for the {self._name}", flush=True)
        code = self._process.wait()
        print(self._said.read_text(), flush=True)
        return code


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
