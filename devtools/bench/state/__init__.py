"""`./dev bench state`: the speed of the state machine's transitions, beside the least that they could cost.

Every transition is measured as a runner or a person causes it: one `chat_update`, its commit (`synchronous_commit` on),
its log line, its hint to Redis. Beside `commit_step`, in alternating rounds of the same run, the bare minimum: one
`UPDATE … RETURNING`, one `INSERT` and a commit with plain psycopg, on the same rows, triggers and settings.

    seeds.py      chats with 10, 1,000 and 100,000 messages
    doors.py      the transitions, one by one, and the bare minimum
    rounds.py     1, 4 and 16 threads at work, in turns
    figures.py    from measured rounds to figures, and the table
    measure.py    the whole run
    __main__.py   its process, with servers of its own

This file starts that process and brings back its figures. On failure: `MeasuringFailed` with the end of its log.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.bench.state.figures import table
from devtools.project import PYTHON, ROOT

STOPPING_LASTS = 60.0
"""Seconds that the process may take to stop its servers."""
LOG_SHOWN = 40
"""Lines."""
LEASE_OUTLASTS_THE_RUN = "3600"
"""Seconds: a chat whose lease expired would also send a wake-up with every step."""


class MeasuringFailed(Exception):
    """The process that measures ended early; the message is what it left behind."""


def run() -> dict[str, Any]:
    """Measure, print the table, return the figures."""
    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        data_dir, found = Path(folder) / "data", Path(folder) / "figures.json"
        log = Path(folder) / "log"
        with log.open("wb") as errors, _process(data_dir, found, errors.fileno()) as process:
            code = process.wait()
        if code:
            raise MeasuringFailed("\n".join(log.read_text().splitlines()[-LOG_SHOWN:]))
        figures: dict[str, Any] = json.loads(found.read_text())
    print(table(figures))
    return figures


@contextmanager
def _process(data_dir: Path, found: Path, errors: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that measures, in a session of its own: Ctrl-C reaches it through us, once, and its servers end."""
    from config import embedded

    environment = {
        **{name: os.environ[name] for name in ("HOME", "PATH")},
        **{"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "NO_COLOR": "1"},
        **{"CHATD_PROCESS": "bench", "CHATD_LEASE_TTL": LEASE_OUTLASTS_THE_RUN},
    }
    command = [PYTHON, "-m", "devtools.tether", str(os.getpid()), PYTHON, "-m", "devtools.bench.state", str(found)]
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
