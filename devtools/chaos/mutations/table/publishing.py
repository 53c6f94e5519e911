"""Hints and wake-ups on their way, and beat."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import INTEGRATION

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
)  # fmt: skip
