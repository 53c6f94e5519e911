"""Which rows of a history the model sees. Pure."""

from collections.abc import Iterable
from typing import Any


def prompt_rows(history: Iterable[Any]) -> list[Any]:
    """The rows from the last compaction boundary on, without what only people see.

    `history`: rows in order with `visibility` and `compressed`; a compressed row for the model holds a summary of all
    before it.
    """
    rows = list(history)
    for index in range(len(rows) - 1, -1, -1):
        if rows[index].compressed and rows[index].visibility == "model":
            rows = rows[index:]
            break
    return [row for row in rows if row.visibility != "user"]
