"""Real chat workers, or a beat, as processes of their own, on the database of the tests, as `./dev up` starts them.

    with worker_process(tmp_path, database_url(), CHATD_LEASE_TTL="4") as worker:
        worker.send(signal.SIGSTOP)

Their wake-ups come through Redis from whoever publishes them, this process included. What they log: `worker.log()`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from devtools.programs import ALONE, WORKER_SAYS
from tests import leaks

ROOT = Path(__file__).resolve().parents[1]
STARTS_WITHIN = 60.0
ENDS_WITHIN = 20.0


def database_url(*, host: str = "", port: int = 0) -> str:
    """The tests' own database, by its socket or through `host` and `port` (a proxy)."""
    at = connection.settings_dict
    name, user = at["NAME"], at["USER"]
    if host:
        return f"postgresql://{user}@{host}:{port}/{name}"
    return f"postgresql://{user}@/{name}?host={quote(at['HOST'], safe='')}"


def postgres_socket() -> str:
    return f"{connection.settings_dict['HOST']}/.s.PGSQL.5432"


CHATS = ("worker", "-Q", "chats", "--pool", "threads", "--loglevel", "INFO", *ALONE)
BEAT = ("beat", "--pidfile=")


class CeleryProcess:
    """One process of Celery; with `restarts`, another one takes its place whenever it dies."""

    def __init__(
        self,
        directory: Path,
        database: str,
        command: Sequence[str],
        *,
        name: str,
        environment: dict[str, str],
        restarts: bool = False,
    ) -> None:
        self.name = name
        self._command = command
        self.deaths: list[int] = []
        """Exit codes of former lives."""
        self._log = directory / f"{name}.log"
        self._environment = {
            "HOME": os.environ["HOME"],
            "PATH": os.environ["PATH"],
            "CHATD_DATA_DIR": str(settings.CHATD_DATA_DIR),
            "DATABASE_URL": database,
            "REDIS_URL": settings.CHATD_REDIS_URL,
            "SECRET_KEY": settings.SECRET_KEY,
            "CHATD_PROCESS": name,
            "CHATD_WORKER_SLOTS": "16",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        self._restarts = restarts
        self._is_ending = False
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper-{name}", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """The exit code; raises `subprocess.TimeoutExpired`."""
        return self._process.wait(seconds)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def log(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while WORKER_SAYS not in self.log():
            assert self._process.poll() is None or self._restarts, self.log()[-2000:]
            assert time.monotonic() < deadline, f"not ready after {STARTS_WITHIN:g} s: {self.log()[-2000:]}"
            time.sleep(0.05)

    def close(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._is_ending = True
        for sent in (signal.SIGCONT, number):
            self._process.send_signal(sent)
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._keeper.join()
            leaks.KEPT_CHILDREN.discard(self._process.pid)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "config", "--quiet", *self._command],
                cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _keep(self) -> None:
        while True:
            self.deaths.append(self._process.wait())
            if self._is_ending or not self._restarts:
                return
            leaks.KEPT_CHILDREN.discard(self._process.pid)
            self._process = self._start()
            leaks.KEPT_CHILDREN.add(self._process.pid)  # its place outlives the test in which the former one died


@contextmanager
def worker_process(
    directory: Path, database: str, *, name: str = "chat-worker-1", restarts: bool = False, **environment: str
) -> Iterator[CeleryProcess]:
    """A worker that is ready; `environment`: variables of its own. Stopped in good order at the end."""
    command = (*CHATS, "-n", f"{name}@%h")
    worker = CeleryProcess(directory, database, command, name=name, environment=environment, restarts=restarts)
    try:
        worker.wait_until_ready()
        yield worker
    finally:
        worker.close()


@contextmanager
def beat_process(directory: Path, database: str, **environment: str) -> Iterator[CeleryProcess]:
    """A beat, from its very start: it never says that it is ready."""
    beat = CeleryProcess(directory, database, BEAT, name="beat", environment=environment)
    try:
        yield beat
    finally:
        beat.close()
