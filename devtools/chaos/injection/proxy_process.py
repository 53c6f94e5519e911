"""A proxy in a process of its own, told what to do over a control socket: a line each, answered with a line.

    python -m devtools.chaos.injection.proxy_process --target /run/redis.sock --port 6400 --control /tmp/redis.control
    echo "delay 0.2" | nc -U /tmp/redis.control

`pass`, `delay SECONDS`, `drop`, `refuse`, `cut` as in `proxy.py`, and `counts`; the answer is the counts as JSON, or
what was wrong. The process prints its port when it listens, and ends with its standard input: it cannot outlive whoever
started it.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.chaos.injection.proxy import CALL_TIMEOUT, ProxyThread, Target, running_proxy
from devtools.project import ROOT


class ProxyProcess:
    """The far end of a control socket."""

    def __init__(self, port: int, control: Path) -> None:
        self.port = port
        self._control = control

    @property
    def counts(self) -> dict[str, int]:
        """Connections: accepted, reset."""
        return self._tell("counts")

    def behave(self, mode: str, seconds: float = 0.0) -> None:
        """Returns when it is so. Raises `ValueError` for what is no mode."""
        self._tell(f"{mode} {seconds:g}")

    def _tell(self, order: str) -> dict[str, int]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CALL_TIMEOUT)
            connection.connect(str(self._control))
            with connection.makefile("rw") as lines:
                lines.write(f"{order}\n")
                lines.flush()
                answer = lines.readline()
        if not answer.startswith("{"):
            raise ValueError(answer.strip())
        counts: dict[str, int] = json.loads(answer)
        return counts


@contextmanager
def proxy_process(target: Target, control: Path, *, port: int = 0) -> Iterator[ProxyProcess]:
    """A proxy before `target`, listening on `port` or a free one."""
    place = target if isinstance(target, str) else f"{target[0]}:{target[1]}"
    command = ["--target", place, "--port", str(port), "--control", str(control)]
    with subprocess.Popen(
        [sys.executable, "-m", __name__, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        listens_on = process.stdout.readline()
        try:
            yield ProxyProcess(int(listens_on), control)
        finally:
            process.terminate()


def serve(proxy: ProxyThread, listening: socket.socket) -> None:
    """Take orders until the socket is shut down."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, connection.makefile("rw") as lines:
            mode, _, seconds = lines.readline().strip().partition(" ")
            try:
                if mode != "counts":
                    proxy.behave(mode, float(seconds or 0))
                lines.write(f"{json.dumps(dict(proxy.counts))}\n")
            except ValueError as error:
                lines.write(f"{error}\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="a unix socket's path, or HOST:PORT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control", type=Path, required=True)
    options = parser.parse_args(arguments)
    host, _, port = options.target.rpartition(":")
    target: Target = (host, int(port)) if host and port.isdecimal() else options.target
    options.control.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening,
        running_proxy(target, port=options.port) as proxy,
    ):
        listening.bind(str(options.control))
        listening.listen()
        threading.Thread(target=serve, args=(proxy, listening), name="control", daemon=True).start()
        print(proxy.port, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
