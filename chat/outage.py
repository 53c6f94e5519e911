"""How a Redis that is away shows itself."""

from redis.exceptions import RedisError

REDIS_AWAY = (RedisError, OSError, RuntimeError)
"""What a call of Redis may raise then. `RuntimeError` is the event loop's word (uvloop) for a write into a connection
that was closed a moment ago; redis-py passes it on, and connects again with the next call."""
