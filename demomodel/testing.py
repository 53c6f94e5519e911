"""The demo model as a real process, for tests and benchmarks.

    with demo_model_process(interval=0) as model:
        httpx.get(model.url + "/models")

The process is started on a free port and ended at exit; what it wrote to standard error is kept in `log`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOPS_WITHIN = 5.0


@dataclass(frozen=True)
class DemoModelProcess:
    """A running demo model: `url` ends in /v1."""

    url: str
    process: subprocess.Popen[str]
    log: Path


@contextmanager
def demo_model_process(interval: float = 0.0) -> Iterator[DemoModelProcess]:
    """Start `python -m demomodel`, yield when it accepts connections, terminate it.

    Raises:
        RuntimeError: it did not start; the message is what it said.
    """
    command = [sys.executable, "-m", "demomodel", "--port", "0", "--interval", str(interval)]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "stderr.log")
        with (
            log.open("w") as errors,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            line = process.stdout.readline()
            try:
                if "http://" not in line:
                    raise RuntimeError(f"the demo model did not start: {line}{log.read_text()}")
                yield DemoModelProcess("http://" + line.strip().partition("http://")[2], process, log)
            finally:
                process.terminate()
                try:
                    process.wait(STOPS_WITHIN)
                except subprocess.TimeoutExpired:
                    process.kill()
