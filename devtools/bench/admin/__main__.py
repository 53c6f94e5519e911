"""The process that measures: `python -m devtools.bench.admin FIGURES_FILE CHATS [PICTURES]`; this package starts it."""

from pathlib import Path
from typing import Any

from devtools.bench.process import run_measuring


def _measure(chats: str, pictures: str = "") -> dict[str, Any]:
    from devtools.bench.admin.measure import measure

    return measure(int(chats), Path(pictures) if pictures else None)


if __name__ == "__main__":
    run_measuring(_measure)
