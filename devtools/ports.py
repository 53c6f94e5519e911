"""Which TCP ports of this machine are free. An answer is true for the moment only."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.programs import HOST

DEMO_MODEL_PORT = 8901


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(preferred: int) -> int:
    """`preferred` if it is free, else any."""
    return preferred if is_free(preferred) else any_port()


def any_port() -> int:
    """One that the kernel chooses among the free ones."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def demo_model_port() -> Iterator[int]:
    """A free port for a demo model; the usual one for one `./dev up` at a time.

    Between the look at it and the start of the demo model lie seconds, in which another `./dev up` may look as well.
    """
    with Path(tempfile.gettempdir(), f"chatd-demo-model-{os.getuid()}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield any_port()
        else:
            yield free_port(DEMO_MODEL_PORT)
