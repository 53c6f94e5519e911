"""`./dev bench admin`: how long each page of the admin takes on a big database from `chat/seeding/`.

measure.py    the run: seed, ask for every page      __main__.py   its process, with servers of its own
pages.py      which pages there are             in_chromium.py    what people see of them
"""

from pathlib import Path
from typing import Any

from devtools.bench.process import figures_of
from devtools.chromium import NONE_FOUND

AIM = 500
"""Milliseconds that no page may take."""
IN_CHROMIUM = {
    "pages": "in Chromium, until all is drawn",
    "only_looking": "… as somebody who may only look",
    "buttons": "… of a button, and the page that follows",
}


def run(chats: int, pictures: Path | None) -> dict[str, Any]:
    """Measure, print the table, return the figures. Raises `devtools.bench.process.MeasuringFailed`.

    `pictures`: a folder for a picture of each page; made where it is not there.
    """
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    figures = figures_of("devtools.bench.admin", str(chats), *([str(pictures.resolve())] if pictures else []))
    title = f"ms on {chats:,} chats"
    print(f"\n{title:44}{'first':>8}{'median':>8}{'kB':>8}")
    for name, page in figures["pages"].items():
        print(f"{name:44}{page['first_ms']:>8}{page['median_ms']:>8}{page['kb']:>8}")
    print(f"\nslowest answer: {figures['slowest_ms']} ms ({figures['slowest']}); the aim is {AIM} at most")
    if (seen := figures["chromium"]) is None:
        print(f"\n{NONE_FOUND}; what people see of it was not measured")
        return figures
    for what, says in IN_CHROMIUM.items():
        print(f"\n{f'{says}, ms':44}{'first':>8}{'median':>8}{'worst':>8}")
        for name, page in seen[what].items():
            print(f"{name:44}{page['first_ms']:>8}{page['median_ms']:>8}{page['worst_ms']:>8}")
        slowest = max(seen[what], key=lambda name: int(seen[what][name]["worst_ms"]))
        print(f"slowest: {seen[what][slowest]['worst_ms']} ms ({slowest}); the aim is {AIM} at most")
    return figures
