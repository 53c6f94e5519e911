"""`./dev bench state`: the speed of the state machine's transitions, beside the least that they could cost.

Every transition is measured as a runner or a person causes it: one `chat_update`, its commit (`synchronous_commit` on),
its log line, its hint to Redis. Beside `commit_step`, in alternating rounds of the same run, the bare minimum: one
`UPDATE … RETURNING`, one `INSERT` and a commit with plain psycopg, on the same rows, triggers and settings.

    seeds.py      chats with 10, 1,000 and 100,000 messages
    doors.py      the transitions, one by one, and the bare minimum
    rounds.py     1, 4 and 16 threads at work, in turns
    figures.py    from measured rounds to figures, and the table
    measure.py    the whole run
    __main__.py   its process, with servers of its own (devtools/bench/process.py)
"""

from typing import Any

from devtools.bench.process import figures_of
from devtools.bench.state.figures import table

LEASE_OUTLASTS_THE_RUN = "3600"
"""Seconds: a chat whose lease expired would also send a wake-up with every step."""


def run() -> dict[str, Any]:
    """Measure, print the table, return the figures. Raises `devtools.bench.process.MeasuringFailed`."""
    figures = figures_of("devtools.bench.state", CHATD_LEASE_TTL=LEASE_OUTLASTS_THE_RUN)
    print(table(figures))
    return figures
