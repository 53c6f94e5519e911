"""`./dev up` as a person uses it: the real command, a data directory of its own, real signals and kills."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import embedded
from config.embedded_servers import processes
from devtools.ports import any_port

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 90.0
ROLES = ["beat", "chat-worker-1", "demo-model", "maintenance", "postgres", "redis", "supervisor", "web"]

pytestmark = pytest.mark.timeout(240)


class Dev:
    """`./dev` with one data directory and one port."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = any_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ours = {"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "NO_COLOR": "1"}
        self._environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **ours}
        self._log = data_dir.with_suffix(".log")

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [ROOT / "dev", *arguments], env=self._environment, capture_output=True, text=True, timeout=120
        )

    def up(self) -> "subprocess.Popen[bytes]":
        """Start in the foreground; return when it says that it is ready."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [ROOT / "dev", "up", "--port", str(self.port)],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert processes.wait_until(
            lambda: process.poll() is not None or f"ready: {self.url}" in self._log.read_text(), READY_WITHIN
        ), self._log.read_text()
        assert process.poll() is None, self._log.read_text()
        return process

    def pids(self) -> dict[str, int]:
        """Role to pid of everything alive."""
        found = json.loads(self("status", "--json").stdout)
        return {row["role"]: row["pid"] for row in found if row["alive"]}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A system that runs for all tests of this module that leave it running."""
    dev = Dev(tmp_path_factory.mktemp("up") / "data")
    process = dev.up()
    yield dev
    process.terminate()
    process.wait(60)
    embedded.stop(dev.data_dir)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Dev]:
    """A system that the test itself starts and ends."""
    dev = Dev(tmp_path / "data")
    yield dev
    dev("down")
    embedded.stop(dev.data_dir)


def left(pids: dict[str, int], within: float = 5) -> dict[str, int]:
    """Those that still live when `within` seconds are over; returns as soon as there are none."""

    def alive() -> dict[str, int]:
        return {role: pid for role, pid in pids.items() if processes.is_alive(pid)}

    processes.wait_until(lambda: not alive(), within)
    return alive()


def test_the_web_process_is_healthy_when_it_says_ready(dev: Dev) -> None:
    with urllib.request.urlopen(f"{dev.url}/healthz") as answer:
        assert answer.status == 200


def test_status_lists_every_role_alive(dev: Dev) -> None:
    status = dev("status", "--json")
    rows = json.loads(status.stdout)
    assert status.returncode == 0
    assert sorted(row["role"] for row in rows) == ROLES
    assert all(row["alive"] and row["pid"] > 0 and row["uptime_s"] >= 0 for row in rows)


def test_the_first_credentials_are_kept_for_the_owner_only(dev: Dev) -> None:
    kept = dev.data_dir / "credentials.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    found = json.loads(kept.read_text())
    assert {"username", "password", "token", "url"} <= set(found)
    assert (found["username"], found["url"]) == ("admin", dev.url)


def test_a_second_start_is_refused_and_disturbs_nothing(dev: Dev) -> None:
    before = dev.pids()
    second = dev("up", "--port", str(dev.port))
    assert second.returncode == 1
    assert f"already running (pid {before['supervisor']}, {dev.url})" in second.stderr
    assert dev.pids() == before


@pytest.mark.parametrize("role", ["web", "chat-worker-1", "maintenance", "beat", "demo-model", "postgres", "redis"])
def test_a_killed_process_is_started_again(dev: Dev, role: str) -> None:
    before = dev.pids()
    os.kill(before[role], signal.SIGKILL)
    assert processes.wait_until(lambda: dev.pids().get(role) not in (None, before[role]), 30)
    assert processes.wait_until(lambda: sorted(dev.pids()) == ROLES, 30)


def test_ctrl_c_leaves_no_process(own: Dev) -> None:
    process = own.up()
    pids = own.pids()
    assert sorted(pids) == ROLES
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert left(pids) == {}
    assert own("status").returncode == 3


def test_a_killed_supervisor_leaves_no_process(own: Dev) -> None:
    process = own.up()
    pids = own.pids()
    process.kill()
    process.wait()
    assert left(pids, within=60) == {}


def test_a_detached_system_returns_when_ready_and_is_stopped_by_down(own: Dev) -> None:
    up = own("up", "--port", str(own.port), "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"ready: {own.url}" in up.stdout
    pids = own.pids()
    assert sorted(pids) == ROLES
    assert own("down").returncode == 0
    assert left(pids) == {}


def test_down_with_nothing_running_says_so(own: Dev) -> None:
    down = own("down")
    assert down.returncode == 0
    assert "nothing was running" in down.stdout


def test_a_port_in_use_is_an_error_before_anything_starts(own: Dev) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        up = own("up", "--port", str(own.port))
    assert up.returncode == 1
    assert f"Port {own.port} is in use" in up.stdout
    assert not (own.data_dir / "postgres").exists()


def test_an_unknown_command_is_refused(own: Dev) -> None:
    unknown = own("dance")
    assert unknown.returncode == 2
    assert "there is no command 'dance'" in unknown.stderr
