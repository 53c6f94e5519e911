"""The injections of a running stack, held from outside: clocks, hints, commits, the network of one chat worker."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config import embedded
from devtools.chaos import notes
from devtools.chaos.injection import spec
from devtools.chaos.injection.proxy_process import ProxyProcess, proxy_process

CLOCK = Path(__file__).parents[1] / "preloaded" / "clock.c"


@dataclass(frozen=True)
class Injections:
    directory: Path
    postgres: ProxyProcess
    redis: ProxyProcess

    def shift_clock(self, role: str, seconds: int) -> None:
        """The real-time clock of a process, from now on; 0 sets it right."""
        with (self.directory / "clocks" / role).open("r+b") as clock:
            clock.write(struct.pack("q", seconds))

    def has_clock(self, role: str, pid: int) -> bool:
        """Whether the process reads its time through the clock that can be shifted."""
        return str(self.directory / "clocks" / role) in Path(f"/proc/{pid}/maps").read_text()

    def tell(self, name: str, text: str) -> None:
        """`hints` (distortion.py) or `database` (database_faults.py): what all processes do from now on."""
        spec.tell(self.directory, name, text)

    def landed(self, name: str) -> int:
        """How many faults of that name all processes have written down so far."""
        file = self.directory / notes.FILE
        return file.read_text().count(f'"fault": "{name}.') if file.exists() else 0


@contextmanager
def prepared(
    folder: Path, addresses: embedded.Addresses, roles: list[str]
) -> Iterator[tuple[Injections, dict[str, str]]]:
    """The handles for a stack with these servers, and what it needs besides `notes.environment(folder)`; `roles`: whose
    clocks can be shifted.
    """
    clocks = folder / "clocks"
    clocks.mkdir(parents=True)
    for role in roles:
        (clocks / role).write_bytes(struct.pack("q", 0))
    with (
        proxy_process(str(addresses.postgres_socket_dir / ".s.PGSQL.5432"), folder / "postgres.control") as postgres,
        proxy_process(str(addresses.redis_socket), folder / "redis.control") as redis,
    ):
        environment = {
            "DJANGO_SETTINGS_MODULE": "devtools.chaos.injection.settings",
            "CHATD_CHAOS_POSTGRES_PORT": str(postgres.port),
            "CHATD_CHAOS_REDIS_PORT": str(redis.port),
        }
        if can_shift_clocks():
            environment |= {"CHATD_CHAOS_CLOCKS": str(clocks), "LD_PRELOAD": str(_compiled(folder / "clock.so"))}
        yield Injections(folder, postgres, redis), environment


def can_shift_clocks() -> bool:
    """Whether this machine has what it takes: Linux and a C compiler."""
    return sys.platform == "linux" and shutil.which("cc") is not None


def _compiled(library: Path) -> Path:
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK), "-ldl"], check=True)
    return library
