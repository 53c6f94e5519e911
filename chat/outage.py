"""How a Redis or a Postgres that is away shows itself."""

from django.db import InterfaceError, InternalError, OperationalError
from redis.exceptions import RedisError

REDIS_AWAY = (RedisError, OSError, RuntimeError)
"""What a call of Redis may raise then. `RuntimeError` is the event loop's word (uvloop) for a write into a connection
that was closed a moment ago; redis-py passes it on, and connects again with the next call."""

DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
"""What a statement may raise when the connection is lost or a limit of time was exceeded. `InternalError` is Postgres's
word for a transaction that it ended because nothing happened in it."""
