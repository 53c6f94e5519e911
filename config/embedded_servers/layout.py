"""Where the files of the embedded servers lie. Pure, apart from `create` and `rotate`.

Invariant: everything follows from the data directory alone, so that all processes agree without asking.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 107 on Linux and 103 on macOS
LARGEST_LOG = 5 * 1024 * 1024  # bytes; a larger log is set aside when its server starts


@dataclass(frozen=True)
class Layout:
    """The paths of one data directory."""

    data_dir: Path
    sockets: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Layout":
        data_dir = data_dir.resolve()
        sockets = data_dir / "sockets"
        if len(os.fsencode(sockets / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH:
            # Not tempfile.gettempdir(): processes with another TMPDIR must find the same place.
            digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
            sockets = Path("/tmp") / f"chatd-{digest}"
        return cls(data_dir, sockets)

    @property
    def pgdata(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def postgres_socket(self) -> Path:
        return self.sockets / ".s.PGSQL.5432"

    @property
    def postgres_log(self) -> Path:
        return self.data_dir / "postgres.log"

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "redis.sock"

    @property
    def redis_log(self) -> Path:
        return self.data_dir / "redis.log"

    @property
    def redis_conf(self) -> Path:
        return self.data_dir / "redis.conf"

    @property
    def redis_pidfile(self) -> Path:
        return self.data_dir / "redis.pid"

    @property
    def users_lock(self) -> Path:
        return self.data_dir / "embedded.lock"

    @property
    def start_lock(self) -> Path:
        return self.data_dir / "embedded.start.lock"

    def create(self) -> None:
        """Make the data directory, for its owner alone: credentials lie in it."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def rotate(log: Path) -> None:
    """Set a large log aside; one older log is kept."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_name(f"{log.name}.1"))
