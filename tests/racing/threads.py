"""Two threads that race, pair after pair; and two operations of which one waits for the other."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from django.db import connection, transaction

from chat.errors import ChatRefusal, StaleFence
from tests.racing.operations import Operation, Place, Result
from tests.threads import LIMIT, Threads


class Racers:
    """Two threads with a connection each; they take the two operations of a pair at the same moment.

    With a `reader`, it is called in a third thread, for as long as the two are at it, with the place of each pair.
    """

    def __init__(self, threads: Threads, reader: Callable[[Place], None] | None = None) -> None:
        self._at_once = threading.Barrier(2 if reader is None else 3)
        self._reader = reader
        self._given: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(self._at_once.parties)]
        self._over: SimpleQueue[int] = SimpleQueue()
        self._results: tuple[list[Result], list[Result]] = ([], [])
        for number, given in enumerate(self._given):
            threads.start(partial(self._run, number, given))

    def race(self, pairs: Sequence[tuple[Place, Sequence[Operation]]]) -> list[tuple[Result, Result]]:
        """The results of each pair; a database error, or any other, is a result that nobody predicts."""
        self._results = ([], [])
        for given in self._given:
            given.put(pairs)
        for _ in self._given:
            self._over.get(timeout=2 * LIMIT)
        return list(zip(*self._results, strict=True))

    def __enter__(self) -> "Racers":
        return self

    def __exit__(self, *_: object) -> None:
        for given in self._given:
            given.put(None)

    def _run(self, number: int, given: "SimpleQueue[Any]") -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")  # races are about locks, not about the disk
        while (pairs := given.get()) is not None:
            for i, (place, pair) in enumerate(pairs):
                self._at_once.wait(LIMIT)
                if number == 2:
                    self._read(place, i)
                else:
                    self._results[number].append(_taken(place, pair[number]))
            self._over.put(number)

    def _read(self, place: Place, i: int) -> None:
        assert self._reader is not None
        over = False
        while not over:
            over = all(len(results) > i for results in self._results)
            self._reader(place)


def _taken(place: Place, operation: Operation) -> Result:
    try:
        with connection.cursor() as cursor:
            for _ in range(operation.head_start):
                cursor.execute("SELECT 1")
        return place.take(operation)
    except Exception as error:  # a deadlock, a broken invariant: told with the pair it belongs to
        return Result(refusals=frozenset([repr(error)]))


def one_then_the_other(first: Callable[[], object], second: Callable[[], object]) -> tuple[str, str]:
    """`second` begins while `first` holds its locks, and waits for its commit; "done", or the refusal, of each."""
    told: list[str] = []
    with Threads() as others, transaction.atomic():
        outcome = told_of(first)
        others.start(lambda: told.append(told_of(second)))
        wait_until_waiting()
    return outcome, told[0]


def told_of(operation: Callable[[], object]) -> str:
    try:
        operation()
    except (ChatRefusal, StaleFence) as refusal:
        return type(refusal).__name__
    return "done"


def wait_until_waiting(waiters: int = 1) -> None:
    """Return once so many connections of this database wait for a lock."""
    give_up_at = time.monotonic() + LIMIT
    with connection.cursor() as cursor:
        while time.monotonic() < give_up_at:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction looks at the activity only once
            cursor.execute(
                "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0] >= waiters:
                return
    raise AssertionError("nobody waits for a lock")
