"""What runs, as a file: `.data/dev.json`, and the lock that says whether its supervisor lives.

Invariant: `dev.lock` is held by the running supervisor and by nobody else; the kernel drops it at any
death, so the file may be old but the lock never lies. The file is replaced whole. A process is told from a
later one with the same pid by its start time.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

SAME_START = 2.0  # seconds; the kernel's start times are derived and may wobble


@dataclass
class Process:
    """One process that we started; `started_at` in seconds since the epoch, as the kernel tells it."""

    role: str
    pid: int
    started_at: float

    @classmethod
    def of(cls, role: str, pid: int) -> "Process":
        """The living process `pid`; its start time is 0 if it is gone already."""
        try:
            return cls(role, pid, float(psutil.Process(pid).create_time()))
        except psutil.NoSuchProcess:
            return cls(role, pid, 0.0)

    def is_alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < SAME_START
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@dataclass
class State:
    supervisor: Process
    url: str
    ready: bool = False
    children: list[Process] = field(default_factory=list)

    def replace(self, child: Process) -> None:
        """Note the present process of a role."""
        self.children = sorted(
            [*(other for other in self.children if other.role != child.role), child],
            key=lambda child: child.role,
        )

    def save(self, data_dir: Path) -> None:
        part = data_dir / "dev.json.part"
        part.write_text(json.dumps(asdict(self), indent=2) + "\n")
        part.replace(data_dir / "dev.json")

    @classmethod
    def load(cls, data_dir: Path) -> "State | None":
        """What the last supervisor wrote; None if there is none, or nothing that we understand."""
        try:
            found = json.loads((data_dir / "dev.json").read_text())
            found["supervisor"] = Process(**found["supervisor"])
            found["children"] = [Process(**child) for child in found["children"]]
            return cls(**found)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @staticmethod
    def forget(data_dir: Path) -> None:
        (data_dir / "dev.json").unlink(missing_ok=True)


class SupervisorLock:
    """`dev.lock`; held until `release` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        self._descriptor = os.open(data_dir / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Whether it is ours now; False if a supervisor lives."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        os.close(self._descriptor)


def supervisor_lives(data_dir: Path) -> bool:
    lock = SupervisorLock(data_dir)
    try:
        return not lock.take()
    finally:
        lock.release()
