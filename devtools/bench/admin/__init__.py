"""`./dev bench admin`: how long each page of the admin takes on a big database from `chat/seeding/`.

measure.py    the run: seed, ask for every page      __main__.py   its process, with servers of its own
pages.py      which pages there are
"""

from typing import Any

from devtools.bench.process import figures_of

AIM = 500
"""Milliseconds that no page may take."""


def run(chats: int) -> dict[str, Any]:
    """Measure, print the table, return the figures. Raises `devtools.bench.process.MeasuringFailed`."""
    figures = figures_of("devtools.bench.admin", str(chats))
    print(f"\n{'ms on ' + format(chats, ',') + ' chats':44}{'first':>8}{'median':>8}{'kB':>8}")
    for name, page in figures["pages"].items():
        print(f"{name:44}{page['first_ms']:>8}{page['median_ms']:>8}{page['kb']:>8}")
    print(f"\nslowest answer: {figures['slowest_ms']} ms ({figures['slowest']}); the aim is {AIM} at most")
    return figures
