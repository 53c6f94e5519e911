"""Threads of a test that meet in the database; whoever waits, waits for a signal and no longer than `LIMIT`."""

import threading
import time
from collections.abc import Callable

from django.db import connection, connections

LIMIT = 30.0
"""Seconds after which a thread that should have come or ended counts as stuck."""


class Threads:
    """Threads that close their connections; errors come out at the end."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[[], object]) -> None:
        def run() -> None:
            try:
                function()
            except BaseException as error:
                self._errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(LIMIT)
        assert not any(thread.is_alive() for thread in self._threads), "a thread is stuck"
        if self._errors:
            raise self._errors[0]


def check(truth: bool) -> None:
    """An assertion for a lambda."""
    assert truth


def wait_until_somebody_waits_for_a_lock() -> None:
    give_up_at = time.monotonic() + LIMIT
    with connection.cursor() as cursor:
        while time.monotonic() < give_up_at:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction looks at the activity only once
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits for a lock")
