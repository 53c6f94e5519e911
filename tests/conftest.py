"""What every test may use. Real Postgres and real Redis, as `config.embedded` or the environment provides them."""

import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from django.test import TransactionTestCase

from tests.flush import flush
from tests.leaks import leaves_nothing_behind

# The same examples in every run, so that a red run is red again; `--hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False, max_examples=2000)
hypothesis.settings.load_profile("repeatable")


TransactionTestCase._fixture_teardown = flush  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """No thread, asyncio task, child process or connection outlives the test that began it."""
    with leaves_nothing_behind():
        yield


@pytest.fixture
def model(db: None) -> str:
    """The name of the catalogue's only, and default, model; nobody answers at its address."""
    from chat.catalogue import register_model

    return register_model("demo:demo", base_url="http://127.0.0.1:9/v1", default=True).full_name


@pytest.fixture
def user(django_user_model: Any, model: str) -> Any:
    return django_user_model.objects.create_user("ann", password="a password of hers")


@pytest.fixture
def other_user(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ben", password="a password of his")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """What would be told to others: ("update", chat, state) and ("wake-up", chat_id), in order, told to nobody."""
    from chat import hints

    told: list[Any] = []
    monkeypatch.setattr(hints, "publish_update", lambda chat, state: told.append(("update", chat.pk, str(state))))
    monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: told.append(("wake-up", chat_id)))
    yield told


def pytest_configure() -> None:
    """In the background of a script, or under nohup, signals are ignored that tests send to what they start."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--state-machine-runs", type=int, help="How many random walks through the state machine; 200 unless told."
    )
    parser.addoption("--racing-pairs", type=int, default=10_000, help="How many pairs of operations race.")
    parser.addoption("--racing-seed", type=int, default=0, help="What these pairs are drawn from.")
