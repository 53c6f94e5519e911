"""Which TCP ports of this machine are free. An answer is true for the moment only."""

import socket

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
    if is_free(preferred):
        return preferred
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
