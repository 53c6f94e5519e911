"""The database as it behaves on a bad day, between real workers and a real Postgres: `devtools.chaos.injection`.

The faults strike the connections of workers and clients; this test's own connection is spared, because it reads what
became of everything.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from devtools.chaos.injection.database_faults import Dice, rates_in
from devtools.chaos.injection.faulty_postgres import base
from devtools.chaos.injection.spec import Spec
from tests.injected import Books, balance, converse, counted_calls, running_workers, wait_until_all_rest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
CLIENTS = 12


@pytest.fixture
def owner(owner: Any, settings: Any) -> Any:
    settings.CHATD_LEASE_TTL, settings.CHATD_HEARTBEAT_INTERVAL = 6.0, 0.5
    return owner


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Dice]:
    """`faults("client: commit_lost=0.1")`: connections that are made from now on break like that."""

    def arm(text: str) -> Dice:
        dice = Dice(Spec("none", lambda _: rates_in(text), {}))
        monkeypatch.setattr(base, "dice", dice)
        monkeypatch.setitem(connections.settings["default"], "ENGINE", "devtools.chaos.injection.faulty_postgres")
        return dice

    return arm


def run(owner: Any, *, chats: int, turns: int) -> Books:
    books = Books()
    with running_workers(2):
        with ThreadPoolExecutor(CLIENTS, thread_name_prefix="chat-client") as clients:
            for client in [clients.submit(converse, books, owner, turns=turns) for _ in range(chats)]:
                client.result()
        wait_until_all_rest(timeout=120)
    return books


def test_three_hundred_commits_of_unknown_outcome_lose_nothing_and_double_nothing(
    owner: Any, faults: Callable[[str], Dice], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = faults("chat-: seed=1; commit_ambiguous=0.17; commit_terminated=0.17")
    with counted_calls(monkeypatch) as calls:
        books = run(owner, chats=80, turns=4)
    answered = balance(books)
    assert dice.landed["commit_ambiguous"] + dice.landed["commit_terminated"] >= 300
    assert {text: count for text, count in calls.items() if count > 1} == {}, "an answer was paid for twice"
    assert calls.total() == answered
