"""The process that measures: `python -m devtools.bench.state FIGURES_FILE`, started by this package alone."""

from typing import Any

from devtools.bench.process import run_measuring


def _measure() -> dict[str, Any]:
    from devtools.bench.state.measure import measure

    return measure()


if __name__ == "__main__":
    run_measuring(_measure)
