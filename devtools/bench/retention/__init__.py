"""`./dev bench retention`: archive and purge on a big database from `chat/seeding/`, and what live turns notice of it.

measure.py    the whole run                      looks.py     candidates: plans and times
talking.py    live turns, a few a second each    purging.py   a process that purges when told to
figures.py    figures and the table (pure)       __main__.py  its process, with servers of its own
"""

from typing import Any

from devtools.bench.process import figures_of
from devtools.bench.retention.figures import table

LEASE_OUTLASTS_THE_RUN = "3600"
"""Seconds: the talkers keep their chats."""


def run(chats: int) -> dict[str, Any]:
    """Measure, print the table, return the figures. Raises `devtools.bench.process.MeasuringFailed`."""
    figures = figures_of("devtools.bench.retention", str(chats), CHATD_LEASE_TTL=LEASE_OUTLASTS_THE_RUN)
    print(table(figures))
    return figures
