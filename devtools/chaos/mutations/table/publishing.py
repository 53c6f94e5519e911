"""Hints and wake-ups on their way, and beat."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import INTEGRATION, LIMITS_OF_TIME

GUARDS = (
    Mutation(
        "a connection that Redis ended is made anew", "chat/publisher.py",
        "self._connection.can_read()", "False",
        (f"{INTEGRATION}/test_publisher.py::test_the_message_after_redis_hung_up_is_not_lost_over_tcp_either",),
    ),
    Mutation(
        "beat is ended between two ticks", "config/celery.py", "    Beat = cached", "    unused = cached",
        (f"{INTEGRATION}/test_beat.py",),
    ),
    Mutation(
        "whoever asks a Redis that hangs is told so", "chat/hints.py",
        "        socket_timeout=PUBLISH_TIMEOUT,\n", "        socket_timeout=None,\n",
        (f"{LIMITS_OF_TIME}::test_whoever_asks_a_silent_redis_is_told_within_moments",),
    ),
    Mutation(
        "a wake-up does not wait for a Redis that hangs", "chat/hints.py",
        '        "socket_timeout": PUBLISH_TIMEOUT,\n', '        "socket_timeout": None,\n',
        (f"{LIMITS_OF_TIME}::test_a_wake_up_that_redis_does_not_take_is_given_up_within_moments",),
    ),
    Mutation(
        "a wake-up is tried once", "chat/hints.py", '        "max_retries": 0,', "",
        (f"{LIMITS_OF_TIME}::test_a_wake_up_that_redis_does_not_take_is_given_up_within_moments",),
    ),
)  # fmt: skip
