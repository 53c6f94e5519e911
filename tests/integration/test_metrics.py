"""What Prometheus and an orchestrator are told."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connections
from prometheus_client.parser import text_string_to_metric_families

from chat import metrics as web_metrics
from chat import transitions
from chat.execution import State
from chat.presence import Presence
from chat.update import chat_update
from chatworker.acquisition import acquire
from chatworker.metrics import HealthServer
from tests.factories import SAID, chat_in
from tests.integration.test_presence import age_heartbeats

pytestmark = pytest.mark.django_db(transaction=True)


def figures(text: str) -> dict[str, float]:
    """Sample → value, labels included: `chatd_chats{status="running"}` is "chatd_chats running"."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(client: Any) -> dict[str, float]:
    answer = client.get("/metrics")
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/plain")
    return figures(answer.content.decode())


def test_a_scrape_says_what_all_chats_are_doing(user: Any, client: Any, published: list[Any]) -> None:
    chat_in(State.R0, user)
    age_heartbeats(60)
    chat_in(State.R1, user)
    chat_in(State.R0, user, owned=False)
    chat_in(State.I0, user, owned=False)
    chat_in(State.A0, user, owned=False)
    chat_in(State.W, user, owned=False)
    chat_in(State.XW, user, owned=False)
    presence = Presence(uuid4(), slots=7)
    presence.hold()
    found = scraped(client)
    presence.leave()
    connections.close_all()
    assert {name: value for name, value in found.items() if name.startswith("chatd_chats ")} == {
        "chatd_chats running": 3,
        "chatd_chats interrupting": 1,
        "chatd_chats requires_action": 1,
    }
    assert (found["chatd_waiting_chats"], found["chatd_fresh_leases"], found["chatd_stale_leases"]) == (2, 1, 1)
    assert (found["chatd_worker_processes"], found["chatd_worker_slots"], found["chatd_database_up"]) == (1, 7, 1)
    assert 0 < found["chatd_oldest_wait_seconds"] < 60


def test_a_scrape_survives_a_database_that_is_away(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> dict[str, float]:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(web_metrics, "_read", away)
    found = scraped(client)
    assert found["chatd_database_up"] == 0
    assert "chatd_waiting_chats" not in found


def test_transitions_waits_and_takeovers_are_counted(user: Any, client: Any, published: list[Any]) -> None:
    before = scraped(client)
    chat_id = chat_in(State.R0, user, history=(SAID,), owned=False)
    assert acquire(chat_id, uuid4(), uuid4())
    age_heartbeats(60)
    assert acquire(chat_id, uuid4(), uuid4())
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
    after = scraped(client)

    def rose(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert rose("chatd_transitions_total acquire") == 2
    assert rose("chatd_transitions_total interrupt") == 1
    assert rose("chatd_takeovers_total") == 1
    assert rose("chatd_acquisition_wait_seconds_count") == 1  # a takeover has not waited in line


# --- the worker's own port -------------------------------------------------------------------------------------


@pytest.fixture
def said() -> dict[str, Any]:
    return {"status": "ok"}


@pytest.fixture
def address(said: dict[str, Any]) -> Iterator[str]:
    server = HealthServer(0, lambda: said, host="127.0.0.1")
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("draining", 200), ("stuck", 503), ("stopped", 503)])
def test_a_probe_learns_whether_the_worker_is_well(status: str, code: int, said: dict[str, Any], address: str) -> None:
    said["status"] = status
    found, body = get(f"{address}/healthz")
    assert (found, json.loads(body)) == (code, said)


def test_a_worker_answers_scrapes_on_its_own_port(address: str) -> None:
    code, body = get(f"{address}/metrics")
    assert code == 200
    assert "chatd_running_chats" in figures(body.decode())


def test_other_paths_of_that_port_are_not_found(address: str) -> None:
    assert get(f"{address}/")[0] == 404
