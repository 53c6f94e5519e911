"""Publishing without waiting for Redis's answer: it says how many listened, and nobody asks."""

import threading
from typing import Any

from redis import ConnectionPool
from redis.exceptions import TimeoutError as RedisTimeout

from chat.outage import REDIS_AWAY


class Publisher:
    """One connection for all threads: a message is handed to the kernel, which takes microseconds, and that is all.

    Redis is told to answer nothing, so whatever there is to read says that the connection has ended; it is then made
    anew before the next message, not lost with it. A Redis that hangs is noticed when the kernel takes no more; whoever
    comes meanwhile waits for `patience` seconds and no longer.
    """

    def __init__(self, connections: ConnectionPool, *, patience: float) -> None:
        self._connections = connections
        self._patience = patience
        self._connection: Any = None  # of redis-py
        self._one_at_a_time = threading.Lock()

    def publish(self, channel: str, message: str) -> None:
        """Raises one of `REDIS_AWAY`: a connection that broke is made anew once, one that hangs is not tried again."""
        if not self._one_at_a_time.acquire(timeout=self._patience):
            raise TimeoutError("others wait for Redis already")
        try:
            try:
                self._send(channel, message)
            except REDIS_AWAY as error:
                self._close()
                if isinstance(error, RedisTimeout):
                    raise
                self._send(channel, message)
        finally:
            self._one_at_a_time.release()

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
