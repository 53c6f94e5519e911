"""The supervisor of `./dev up` with scripted children: real processes, real signals."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.embedded_servers import processes

ROOT = Path(__file__).resolve().parents[2]

SUPERVISE = """
import asyncio, os, sys
from pathlib import Path
from devtools.console import standard
from devtools.programs import Program
from devtools.state import Process, State
from devtools.supervisor import Supervisor
programs = [
    Program(
        role,
        ("tests.acceptance.scripted_child", role, behaviour),
        says_when_ready=f"{role} up",
        needed_until_the_end=role == "last",
    )
    for role, behaviour in (argument.split("=") for argument in sys.argv[2:])
]
console = standard()
supervisor = Supervisor(
    programs,
    os.environ,
    state=State(Process.of("supervisor", os.getpid()), "http://nowhere"),
    data_dir=Path(sys.argv[1]),
    console=console,
    drain_lasts=30.0,
    servers=(False, False),
    all_ready=lambda: console.say("all ready"),
)
sys.exit(asyncio.run(supervisor.run()))
"""


class Supervised:
    """A supervisor process, and what it has said so far."""

    def __init__(self, data_dir: Path, *children: str) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(data_dir), *children],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def hear(self, words: str) -> str:
        """Read until a line contains `words`; what follows them."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if words in line:
                return line.partition(words)[2].strip()
        raise AssertionError(f"never said {words!r}: {self.said}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[str]]:
        """The exit code, and everything it said from now on."""
        rest, _ = self.process.communicate(timeout=60)
        return self.process.returncode, rest.splitlines()


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*children: str) -> Supervised:
        started.append(Supervised(tmp_path, *children))
        return started[-1]

    yield start
    for supervised in started:
        supervised.process.kill()
        supervised.process.communicate()


def gone(pid: int) -> bool:
    return processes.wait_until(lambda: not processes.is_alive(pid), 10)


def test_a_killed_child_is_started_again(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("web=steady")
    first = int(supervised.hear("web up"))
    processes.send(first, signal.SIGKILL)
    supervised.hear("ended (SIGKILL); starts again in 0.2 s")
    second = int(supervised.hear("web up"))
    assert first != second
    supervised.send(signal.SIGTERM)
    assert supervised.end()[0] == 0
    assert gone(second)


def test_everybody_is_ready_before_it_says_so(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("web=steady", "beat=steady")
    supervised.hear("all ready")
    assert {"web up", "beat up"} <= {" ".join(line.split("| ")[1].split()[:2]) for line in supervised.said}


def test_a_child_that_cannot_start_ends_everything_and_is_quoted(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise("web=fails", "beat=steady")
    beat = int(supervised.hear("beat up"))
    code, said = supervised.end()
    assert code == 1
    assert any("web cannot start (exit code 3). Its last lines:" in line for line in said)
    assert said[-1].endswith("has no luck")
    assert gone(beat)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_model_ends_after_those_who_may_need_it(
    supervise: Callable[..., Supervised], number: signal.Signals
) -> None:
    supervised = supervise("last=steady", "web=steady", "beat=steady")
    supervised.hear("all ready")
    supervised.send(number)
    code, said = supervised.end()
    ends = [line.split("| ")[1] for line in said if line.endswith("ends")]
    assert code == 0
    assert len(ends) == 3
    assert ends[-1] == "last ends"


def test_a_second_signal_kills_at_once(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("web=stubborn")
    pid = int(supervised.hear("web up"))
    supervised.send(signal.SIGINT)
    supervised.hear("web ends")
    supervised.send(signal.SIGINT)
    assert supervised.end()[0] == 0
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_killed_supervisor_takes_its_children_with_it(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("web=steady", "beat=steady")
    pids = [int(supervised.hear("up")) for _ in range(2)]
    supervised.send(signal.SIGKILL)
    assert all(gone(pid) for pid in pids)


def test_what_a_killed_child_had_started_goes_with_it(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("web=parent")
    child, grandchild = map(int, supervised.hear("web up").split())
    processes.send(child, signal.SIGKILL)
    assert gone(grandchild)
