"""Random walks: any transitions in any order against the real database, beside a reference that was written from the
specification alone (`tests/reference`). After every step everything is compared: rows, history, queue, leases, and
what was published; and the invariants are checked whatever the reference says.

    pytest tests/integration/test_state_machine.py --state-machine-runs 2000 --hypothesis-profile explore
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import hypothesis
import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from chat import hints
from chat.catalogue import register_model
from tests.reference.machine import TOLD, Machine, plain
from tests.reference.messages import Digits
from tests.reference.transitions import in_table
from tests.reference.walk import Step, Walk
from tests.reference.world import World
from tests.table import TABLE

RUNS, STEPS = 200, 200
QUEUE_LIMIT = 4  # small, so that a full queue is met
SHRINKING_LASTS = 60.0
"""Seconds in which a failing walk is made shorter, by whole steps (Hypothesis would know numbers only)."""
REFUSALS = {
    "BusyBehaviorUnknown", "ChatNotFound", "FamilyArchived", "HistoryNotWellFormed", "InvalidState", "MessageInvalid",
    "MessageNotFound", "ModelUnknown", "NoClientCalls", "NotAUserMessage", "NothingToAbsorb", "PositionInvalid",
    "QueueFull", "QueuedMessageNotFound", "StaleFence", "ToolResultDuplicate", "ToolResultInvalid",
    "ToolResultMissing", "ToolResultUnexpected", "TransitionNotAllowed",
}  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is published: (what, chat, state, facts of the chat)."""
    events: list[Any] = []

    def update(chat: Any, state: Any) -> None:
        events.append(("update", str(chat.pk), str(state), {name: plain(getattr(chat, name)) for name in TOLD}))

    monkeypatch.setattr(hints, "publish_update", update)
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: events.append(("wake-up", str(chat_id), None, {})))
    return events


@pytest.fixture
def reader(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A second connection."""
    other = connection.copy()
    yield other
    other.close()


@pytest.fixture
def quick(transactional_db: None, settings: Any) -> Iterator[None]:
    """Nobody pulls the plug, a lease outlives its run, and nobody reads the log of fifty thousand transitions."""
    settings.CHATD_QUEUE_LIMIT = QUEUE_LIMIT
    settings.CHATD_LEASE_TTL = 3600
    logger = logging.getLogger("chat")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET synchronous_commit")
    logger.setLevel(level)


Draw = Callable[[], int]


class Walks:
    """Runs of `STEPS` steps. `met`: how often each kind of step, cell of the table and refusal came about."""

    def __init__(self, people: dict[str, Any], told: list[Any], reader: BaseDatabaseWrapper) -> None:
        self.met: Counter[Any] = Counter()
        self._surroundings = people, told, reader
        self._found = ""

    def run(self, random: Any) -> None:
        numbers: list[list[int]] = []
        found = self._take(_drawn(random, numbers), self.met)
        if found:
            self._found = self._found or self._shortest(numbers, found)
            raise AssertionError(self._found)

    def _take(self, draws: Iterable[Draw], met: Counter[Any]) -> str:
        """One walk, a step for each of `draws`, until something is wrong: what, and the trail that led to it."""
        world, machine, trail = World(QUEUE_LIMIT), Machine(*self._surroundings), []
        walk = Walk(world)
        try:
            for draw in draws:
                states = {name: chat.state for name, chat in world.chats.items()}
                step = walk.next_step(draw)
                trail.append(step)
                if wrong := machine.take(step, world):
                    return "\n".join([*wrong, "after", *(f"{i:3} {step}" for i, step in enumerate(trail, 1))])
                met.update(_what(step, states))
        finally:
            machine.forget()
        return ""

    def _shortest(self, numbers: list[list[int]], found: str) -> str:
        """What is still wrong without the steps that do not matter: large parts are left out first, then small ones."""
        give_up_at = time.monotonic() + SHRINKING_LASTS
        size = len(numbers) // 2
        while size and time.monotonic() < give_up_at:
            start, before = 0, len(numbers)
            while start < len(numbers) and time.monotonic() < give_up_at:
                fewer = numbers[:start] + numbers[start + size :]
                taken: list[list[int]] = []
                if less := self._take(_again(fewer, taken), Counter()):
                    numbers, found = taken, less
                else:
                    start += size
            size = size // 2 if size > 1 or len(numbers) == before else size
        return found


def _drawn(random: Any, numbers: list[list[int]]) -> Iterator[Draw]:
    """For each step a source of numbers; what it gave is noted in `numbers`, step by step."""

    def draw() -> int:
        numbers[-1].append(random.randrange(Digits.BIGGEST))
        return numbers[-1][-1]

    for _ in range(STEPS):
        numbers.append([])
        yield draw


def _again(numbers: list[list[int]], taken: list[list[int]]) -> Iterator[Draw]:
    """The numbers of a walk once more; a step that now needs another one gets 0. `taken`: those of the steps taken."""
    for of_step in numbers:
        taken.append(of_step)
        rest = iter(of_step)
        yield partial(next, rest, 0)


def _what(step: Step, states: dict[str, str]) -> Iterator[Any]:
    yield step.kind
    if step.refused:
        yield from step.refused.names
    elif step.kind == "update" and len(step.moves) == 1 and not step.moves[0].caught:
        [move] = step.moves
        yield in_table(move.name, move.arguments), states[step.chat]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(0)  # as long as it is told to; every statement has a limit of its own
def test_whatever_happens_to_a_chat_is_what_the_specification_says(
    request: pytest.FixtureRequest,
    user: Any,
    other_user: Any,
    told: list[Any],
    reader: BaseDatabaseWrapper,
    quick: None,
) -> None:
    register_model("demo:second")
    walks = Walks({"ann": user, "ben": other_user}, told, reader)
    runs = request.config.getoption("--state-machine-runs") or max(RUNS, hypothesis.settings().max_examples)

    # A run is long and commits for real: that is no fault of the data. The trail explains more than Hypothesis can.
    @hypothesis.settings(
        max_examples=runs,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate],
        report_multiple_bugs=False,
    )
    @hypothesis.given(st.randoms(use_true_random=False))
    def run(random: Any) -> None:
        walks.run(random)

    run()
    if runs >= RUNS:
        cells = {cell for cell, outputs in TABLE.items() if outputs and cell[0] != "create"}
        assert (cells | REFUSALS) - walks.met.keys() == set(), "never met"
