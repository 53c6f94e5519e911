"""What archive, purge and the sweep look for on a big database: how long it takes, and by which plan."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from statistics import median
from typing import Any

from django.db import connection

from chat.rows import batch
from chatworker.acquisition import chats_without_owner

TIMES = 15
_WIDEST = 150
"""Characters of a line of a plan; lists of ids are longer."""


def look(cutoff: datetime) -> dict[str, dict[str, Any]]:
    """Name → milliseconds (median), the number found, and the plans of its statements."""
    return {
        "archive candidates": _timed(lambda: batch.inactive(cutoff, after=None, limit=1000)),
        "purge candidates": _timed(lambda: batch.outdated(cutoff, after=None, limit=1000)),
        "acquisition candidates": _timed(lambda: chats_without_owner(grace=0)),
    }


def _timed(find: Callable[[], list[Any]]) -> dict[str, Any]:
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        found = find()
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        find()
        taken.append(time.perf_counter() - begun)
    plans = [_plan(sql, params) for sql, params in statements]
    return {"ms": round(median(taken) * 1000, 2), "found": len(found), "plans": plans}


def _plan(sql: str, params: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {sql}", params)
        return [re.sub(r"\s+$", "", line[:_WIDEST]) for (line,) in cursor.fetchall()]
