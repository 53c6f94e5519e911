"""The embedded Postgres and Redis under their real users: processes that come, go and are killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
import redis

from config import embedded
from config.embedded_servers import processes
from config.embedded_servers.layout import Layout

ROOT = Path(__file__).resolve().parents[2]

USES_THEM = """
import sys
from pathlib import Path
from config import embedded
embedded.ensure_running(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
"""
STARTS_A_PROGRAM = """
import subprocess
print(subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.readline()
"""
FORKS = """
import os
child = os.fork()
if child == 0:
    sys.stdin.readline()
    sys.exit()
print(child, flush=True)
"""


SLOW_CHILDREN = """
import os
import time
os.register_at_fork(after_in_child=lambda: time.sleep(1))
"""


class User:
    """A process of its own that uses the servers until it is told to leave."""

    alive: ClassVar[list["User"]] = []

    def __init__(self, data_dir: Path, then: str = "", *, first: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", first + USES_THEM + then, str(data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.alive.append(self)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def proceed(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    while User.alive:
        User.alive.pop().kill()
    embedded.stop(tmp_path / "data")


def running(data_dir: Path) -> dict[str, int]:
    """The pids; both must run."""
    found = embedded.status(data_dir)
    assert None not in found.values(), found
    return {name: pid for name, pid in found.items() if pid is not None}


def stopped(data_dir: Path) -> bool:
    return embedded.status(data_dir) == {"postgres": None, "redis": None}


def test_the_last_user_to_leave_stops_the_servers(data_dir: Path) -> None:
    first, second = User(data_dir), User(data_dir)
    assert (first.line(), second.line()) == ("ready", "ready")
    pids = running(data_dir)
    first.leave()
    assert running(data_dir) == pids
    second.leave()
    assert stopped(data_dir)


def test_many_first_users_at_once_start_each_server_once(data_dir: Path) -> None:
    users = [User(data_dir) for _ in range(4)]
    assert [user.line() for user in users] == ["ready"] * 4
    pids = running(data_dir)
    for user in users[:-1]:
        user.leave()
    assert running(data_dir) == pids
    users[-1].leave()
    assert stopped(data_dir)


def test_a_killed_user_no_longer_counts(data_dir: Path) -> None:
    killed, other = User(data_dir), User(data_dir)
    assert (killed.line(), other.line()) == ("ready", "ready")
    killed.kill()
    other.leave()
    assert stopped(data_dir)


def test_servers_that_a_killed_user_left_are_stopped_on_request_only_if_unused(data_dir: Path) -> None:
    user = User(data_dir)
    assert user.line() == "ready"
    assert not embedded.stop_if_unused(data_dir)
    running(data_dir)
    user.kill()
    running(data_dir)
    assert embedded.stop_if_unused(data_dir)
    assert stopped(data_dir)


def test_a_program_that_a_user_started_is_not_a_user(data_dir: Path) -> None:
    user = User(data_dir, STARTS_A_PROGRAM)
    assert user.line() == "ready"
    user.proceed()
    program = int(user.line())
    user.leave()
    try:
        assert stopped(data_dir)
    finally:
        os.kill(program, signal.SIGKILL)


@pytest.mark.parametrize("first", ["", SLOW_CHILDREN], ids=["long ago", "at once"])
def test_a_forked_child_stays_a_user_after_its_parent_left(data_dir: Path, first: str) -> None:
    user = User(data_dir, FORKS, first=first)
    assert user.line() == "ready"
    user.proceed()
    child = int(user.line())
    assert user.process.wait(60) == 0
    running(data_dir)
    user.proceed()
    assert processes.wait_until(lambda: not processes.is_alive(child), 60)
    user.process.communicate()
    assert stopped(data_dir)


def test_killed_servers_come_back_with_all_data(data_dir: Path) -> None:
    user = User(data_dir)
    assert user.line() == "ready"
    url = embedded.addresses(data_dir).database_url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")
    before = running(data_dir)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
        assert processes.wait_until(lambda pid=pid: not processes.is_alive(pid), 10)  # type: ignore[misc]
    assert stopped(data_dir)
    rescuer = User(data_dir)
    assert rescuer.line() == "ready"
    assert not set(running(data_dir).values()) & set(before.values())
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("still here",)]
    with redis.Redis.from_url(embedded.addresses(data_dir).redis_url) as client:
        assert client.ping()
    user.leave()
    rescuer.leave()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarts_on_request_and_keeps_its_data(data_dir: Path, mode: str) -> None:
    user = User(data_dir)
    assert user.line() == "ready"
    before = running(data_dir)
    embedded.restart_postgres(data_dir, mode)  # type: ignore[arg-type]
    after = running(data_dir)
    assert after["postgres"] != before["postgres"]
    assert after["redis"] == before["redis"]
    user.leave()


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(data_dir: Path) -> None:
    once = User(data_dir)
    assert once.line() == "ready"
    pidfile = Layout.of(data_dir).pgdata / "postmaster.pid"
    lines = pidfile.read_text().splitlines()
    once.leave()
    pidfile.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    again = User(data_dir)
    assert again.line() == "ready"
    again.leave()


def test_a_data_directory_with_a_long_path_works(data_dir: Path) -> None:
    deep = data_dir / ("deep" * 20)
    user = User(deep)
    assert user.line() == "ready"
    sockets = embedded.addresses(deep).postgres_socket_dir
    assert sockets.parent == Path("/tmp")
    assert sockets.stat().st_mode & 0o777 == 0o700
    user.leave()
    assert stopped(deep)
    sockets.rmdir()


def test_a_server_that_cannot_start_says_why_and_what_to_do(data_dir: Path) -> None:
    once = User(data_dir)
    assert once.line() == "ready"
    once.leave()
    with (Layout.of(data_dir).pgdata / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    failing = subprocess.run(
        [sys.executable, "-c", USES_THEM, str(data_dir)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert failing.returncode == 1
    assert "EmbeddedServerError: Postgres did not start" in failing.stderr
    assert 'unrecognized configuration parameter "no_such_setting"' in failing.stderr
    assert "What to do:" in failing.stderr
    assert stopped(data_dir)
