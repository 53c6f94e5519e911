"""The proxy alone, before a server that says everything back: each mode does what its name says, to real sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.chaos.injection.proxy import HOST, ProxyThread, running_proxy
from devtools.chaos.injection.proxy_process import proxy_process

SOON = 5.0
"""Seconds in which what should come does come."""
A_WHILE = 0.3
"""Seconds in which what must not come would have come."""


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """A unix socket whose other end says everything back."""
    path = str(tmp_path / "echo.sock")
    threads: list[threading.Thread] = []

    def say_back(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while said := connection.recv(1024):
                connection.sendall(said)

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threads.append(threading.Thread(target=say_back, args=(connection,)))
                threads[-1].start()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
        serving.join()
        for thread in threads:
            thread.join()


@pytest.fixture
def proxy(echo: str) -> Iterator[ProxyThread]:
    with running_proxy(echo) as proxy:
        yield proxy


@contextlib.contextmanager
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), timeout=SOON) as connection:
        yield connection


def said_back(connection: socket.socket, text: bytes, *, within: float = SOON) -> bytes:
    connection.settimeout(within)
    connection.sendall(text)
    return connection.recv(1024)


def test_it_passes_everything_in_both_directions(proxy: ProxyThread) -> None:
    with client(proxy.port) as one, client(proxy.port) as other:
        assert said_back(one, b"hello") == b"hello"
        assert said_back(other, b"good day") == b"good day"
    assert proxy.counts["accepted"] == 2


def test_a_delay_holds_each_direction_up(proxy: ProxyThread) -> None:
    with client(proxy.port) as connection:
        proxy.behave("delay", 0.1)
        began = time.monotonic()
        assert said_back(connection, b"hello") == b"hello"
        assert time.monotonic() - began >= 0.2


def test_a_black_hole_takes_everything_and_gives_it_back_when_it_ends(proxy: ProxyThread) -> None:
    with client(proxy.port) as old:
        assert said_back(old, b"before") == b"before"
        proxy.behave("drop")
        with pytest.raises(TimeoutError):
            said_back(old, b"into the hole", within=A_WHILE)
        with client(proxy.port) as new, pytest.raises(TimeoutError):
            said_back(new, b"as well", within=A_WHILE)
        proxy.behave("pass")
        old.settimeout(SOON)
        assert old.recv(1024) == b"into the hole"


def test_a_refusal_is_for_new_connections_alone_and_ends(proxy: ProxyThread) -> None:
    with client(proxy.port) as old:
        assert said_back(old, b"before") == b"before"
        proxy.behave("refuse")
        with pytest.raises(ConnectionRefusedError), client(proxy.port):
            pass
        assert said_back(old, b"still") == b"still"
        proxy.behave("pass")
        with client(proxy.port) as new:
            assert said_back(new, b"again") == b"again"


def test_a_cut_resets_every_connection_and_lets_new_ones_pass(proxy: ProxyThread) -> None:
    with client(proxy.port) as one, client(proxy.port) as other:
        for connection in (one, other):
            assert said_back(connection, b"before") == b"before"
        proxy.behave("cut")
        for connection in (one, other):
            with pytest.raises(ConnectionResetError):
                connection.recv(1024)
        with client(proxy.port) as new:
            assert said_back(new, b"after") == b"after"
    assert proxy.counts["reset"] >= 2


def test_what_is_no_mode_is_refused_and_changes_nothing(proxy: ProxyThread) -> None:
    with pytest.raises(ValueError, match="is none of"):
        proxy.behave("explode")
    with client(proxy.port) as connection:
        assert said_back(connection, b"hello") == b"hello"


def test_a_proxy_in_a_process_of_its_own_is_told_over_a_socket(echo: str, tmp_path: Path) -> None:
    with proxy_process(echo, tmp_path / "control") as proxy:
        with client(proxy.port) as connection:
            assert said_back(connection, b"hello") == b"hello"
            assert proxy.counts == {"accepted": 1}
            proxy.behave("cut")
            with pytest.raises(ConnectionResetError):
                connection.recv(1024)
        with pytest.raises(ValueError, match="is none of"):
            proxy.behave("explode")
        proxy.behave("refuse")
        with pytest.raises(ConnectionRefusedError), client(proxy.port):
            pass
