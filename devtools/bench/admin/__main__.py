"""The process that measures: `python -m devtools.bench.admin FIGURES_FILE CHATS`, started by this package alone."""

from typing import Any

from devtools.bench.process import run_measuring


def _measure(chats: str) -> dict[str, Any]:
    from devtools.bench.admin.measure import measure

    return measure(int(chats))


if __name__ == "__main__":
    run_measuring(_measure)
