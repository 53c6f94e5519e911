"""Which fault of the database strikes, and how often.

    CHATD_CHAOS_DATABASE="chat-worker: seed=7; commit_ambiguous=0.1; execute_lost=0.01"

Only in threads or processes whose name (CHATD_PROCESS, or the thread's) begins with the word before the colon: a worker
in a process of tests is meant by the names of its threads, and `manage.py migrate` is never hit. Kinds:

    execute_lost       the connection is lost before a statement is sent
    execute_ambiguous  outside a transaction: the statement is done, the connection is lost before its answer
    serialization      a statement fails as a serialisation failure does; the transaction is over, the connection is not
    delay              a statement waits 50 to 500 ms
    commit_lost        the connection is lost before COMMIT is sent
    commit_ambiguous   COMMIT is done, the connection is lost before its answer
    commit_terminated  COMMIT is sent while somebody terminates the backend: who is first, nobody knows

Seeded: the dice fall in the same order in each run; which statement gets which one is up to the threads.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from chat import crash
from devtools.chaos.injection.spec import Spec, share, words_in

AT_STATEMENTS = ("execute_lost", "serialization", "delay")
AT_AUTOCOMMIT = ("execute_ambiguous",)
AT_COMMITS = ("commit_lost", "commit_ambiguous", "commit_terminated")
KINDS = (*AT_STATEMENTS, *AT_AUTOCOMMIT, *AT_COMMITS)
DELAY = (0.05, 0.5)
"""Seconds, from and to."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The share of statements, or of commits, that each kind of fault hits."""

    scope: str = ""
    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)


def rates_in(text: str) -> Rates:
    """Raises `ValueError`."""
    if not text.strip():
        return Rates()
    scope, colon, rules = text.partition(":")
    if not colon or not scope.strip():
        raise ValueError(f"{text!r} does not say whom to hit: SCOPE: KIND=SHARE; …")
    seed, shares = 0, {}
    for name, value in words_in(rules):
        if name == "seed":
            seed = int(value)
        elif name in KINDS:
            shares[name] = share(name, value)
        else:
            raise ValueError(f"there is no fault {name!r}: {', '.join(KINDS)}")
    return Rates(scope.strip(), seed, shares)


class Dice:
    """Draws faults and counts those that landed. Safe to share between threads."""

    def __init__(self, spec: "Spec[Rates]") -> None:
        self._spec = spec
        self._mutex = threading.Lock()
        self._seed: int | None = None
        self._random = random.Random()
        self.landed: Counter[str] = Counter()

    def draw(self, kinds: tuple[str, ...]) -> str | None:
        """The fault, of these kinds, that strikes here and now; None nearly always."""
        rates = self._spec.current()
        if not any(rates.shares.get(kind) for kind in kinds) or not _is_meant(rates.scope):
            return None
        with self._mutex:
            if self._seed != rates.seed:
                self._seed = rates.seed
                self._random.seed(rates.seed)
            fallen = self._random.random()
        for kind in kinds:
            fallen -= rates.shares.get(kind, 0)
            if fallen < 0:
                return kind
        return None

    def between(self, least: float, most: float) -> float:
        with self._mutex:
            return self._random.uniform(least, most)

    def note(self, kind: str, **facts: object) -> None:
        """A fault landed."""
        with self._mutex:
            self.landed[kind] += 1
        if crash.armed is not None:
            crash.armed.record(f"database.{kind}", **facts)


def _is_meant(scope: str) -> bool:
    return os.environ.get("CHATD_PROCESS", "").startswith(scope) or threading.current_thread().name.startswith(scope)


dice = Dice(Spec("database", rates_in))
"""Of this process."""
