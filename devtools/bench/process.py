"""A bench that needs Django: a process of its own, with servers of its own; this starts it and brings its figures.

Its environment names a data directory that is made for it; loading Django starts Postgres and Redis there, and the end
of the process stops them. Progress goes to stdout, the log to a file. SIGTERM ends it in good order. On failure:
`MeasuringFailed` with the end of its log.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.project import PYTHON, ROOT

STOPPING_LASTS = 60.0
"""Seconds that the process may take to stop its servers."""
LOG_SHOWN = 40
"""Lines."""
INTERRUPTED = 130


class MeasuringFailed(Exception):
    """The process that measures ended early; the message is what it left behind."""


def figures_of(module: str, *arguments: str, **settings: str) -> dict[str, Any]:
    """Run `python -m MODULE FIGURES_FILE ARGUMENTS`; what it wrote there. `settings`: more of its environment."""
    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        data_dir, found = Path(folder) / "data", Path(folder) / "figures.json"
        log = Path(folder) / "log"
        command = [module, str(found), *arguments]
        with log.open("wb") as errors, _process(data_dir, command, settings, errors.fileno()) as process:
            code = process.wait()
        if code:
            raise MeasuringFailed("\n".join(log.read_text().splitlines()[-LOG_SHOWN:]))
        figures: dict[str, Any] = json.loads(found.read_text())
    return figures


def run_measuring(measure: Callable[..., dict[str, Any]]) -> None:
    """The other side: set Django up, migrate, measure. `measure` gets the arguments, as they came."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import django

        print("starting Postgres and Redis …", flush=True)
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        found, *arguments = sys.argv[1:]
        Path(found).write_text(json.dumps(measure(*arguments)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def _process(
    data_dir: Path, arguments: list[str], settings: dict[str, str], errors: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """In a session of its own: Ctrl-C reaches it through us, once, and its servers end."""
    from config import embedded

    environment = {
        **{name: os.environ[name] for name in ("HOME", "PATH")},
        **{"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "NO_COLOR": "1"},
        **{"CHATD_PROCESS": "bench", **settings},
    }
    command = [PYTHON, "-m", "devtools.tether", str(os.getpid()), PYTHON, "-m", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=errors, start_new_session=True)
    try:
        yield process
    finally:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave the servers
        process.terminate()
        try:
            process.wait(STOPPING_LASTS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        embedded.stop(data_dir)  # they ended with the process, unless it was killed
        signal.signal(signal.SIGINT, before)
