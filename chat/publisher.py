"""Publishing without waiting for Redis's answer: it says how many listened, and nobody asks."""

import threading
from typing import Any

from redis import ConnectionPool

from chat.outage import REDIS_AWAY


class Publisher:
    """One connection for all threads: a message is handed to the kernel, which takes microseconds, and that is all.

    Redis is told to answer nothing, so whatever there is to read says that the connection has ended; it is then made
    anew before the next message, not lost with it. A Redis that hangs is noticed when the kernel takes no more.
    """

    def __init__(self, connections: ConnectionPool) -> None:
        self._connections = connections
        self._connection: Any = None  # of redis-py
        self._one_at_a_time = threading.Lock()

    def publish(self, channel: str, message: str) -> None:
        """Raises one of `REDIS_AWAY`, after a second try."""
        with self._one_at_a_time:
            try:
                self._send(channel, message)
            except REDIS_AWAY:
                self._close()
                self._send(channel, message)

    def close(self) -> None:
        with self._one_at_a_time:
            self._close()

    def _send(self, channel: str, message: str) -> None:
        if self._connection is not None and self._connection.can_read():
            self._close()
        if self._connection is None:
            connection = self._connections.make_connection()
            connection.connect()
            connection.send_command("CLIENT", "REPLY", "OFF")
            self._connection = connection
        self._connection.send_command("PUBLISH", channel, message, check_health=False)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
