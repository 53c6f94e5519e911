"""`./dev test`: the static checks, then the test suite; with arguments, only pytest with these.

Everything runs against a data directory of its own, so a running `./dev up` is not disturbed; two test runs
at once would share its test database, so the second waits. All static checks run before a failure stops, so
that all findings are seen. This process holds the embedded servers, so they start once for all steps.
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
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
PATIENT = (
    "tests/unit",
    "tests/architecture",
    "tests/browser",
    "tests/integration/test_state_machine.py",
    "tests/integration/test_races.py",
)
"""They work and watch no clock: they give way to the others, which see processes die and leases end in time."""
NICENESS = 15

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
    """All tests, in three pytests at the same time, each on servers of its own."""
    with ExitStack() as running:
        systems = running.enter_context(_Beside(SYSTEMS, data_dir / "systems"))
        patient = running.enter_context(_Beside(PATIENT, data_dir / "patient", niceness=NICENESS))
        others = (f"--ignore={path}" for path in (*SYSTEMS, *PATIENT))
        passed = _step("pytest", (*PYTHON, "pytest", "--durations=25", *others))
        return all([passed, systems.passed(), patient.passed()])


class _Beside:
    """Tests that run beside others; what they say is shown when they are over."""

    def __init__(self, paths: tuple[str, ...], data_dir: Path, *, niceness: int = 0) -> None:
        self._paths, self._said = paths, data_dir.with_suffix(".log")
        self._command = ("nice", "-n", str(niceness), *PYTHON, "pytest", "--durations=10", *paths)
        temporary = str(_temporary_files(data_dir.name))
        self._environment = {**os.environ, "CHATD_DATA_DIR": str(data_dir), "PYTEST_DEBUG_TEMPROOT": temporary}

    def __enter__(self) -> "_Beside":
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                self._command,
                cwd=project.ROOT, env=self._environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)  # as Ctrl-C: the tests end what they started
            self._process.wait()

    def passed(self) -> bool:
        """Waits for their end."""
        print(f"dev: waiting for {', '.join(self._paths)}", flush=True)
        code = self._process.wait()
        print(self._said.read_text(), flush=True)
        return code == 0


def _temporary_files(name: str) -> Path:
    """A place for their own: in the usual one, each pytest that comes to need it shuts everybody else out.

    Postgres, which may not run as root, is somebody else, and another stream's may be about to start there.
    """
    place = Path(tempfile.gettempdir(), f"chatd-tests-{os.getuid()}-{name}")
    place.mkdir(exist_ok=True)
    return place


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
