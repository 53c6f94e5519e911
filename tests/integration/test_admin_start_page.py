"""The start page: its figures are those of the database and of Redis, and reading them costs the same at any size."""

import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from redis.exceptions import ConnectionError as RedisIsAway

from chat import hints
from chat.admin import figures
from chat.execution import State
from chat.minutes import FAILURES, FIRST_PART, TURNS, minute_key
from chat.models import RunnerLease, WorkerProcess
from tests.factories import LIVE_STATES, WORKER, chat_in
from tests.surroundings import pass_time

HOME = "/admin/"


@pytest.fixture
def by_state(user: Any, published: list[Any]) -> None:
    for state in LIVE_STATES:
        chat_in(state, user, owned=state in (State.R0, State.I0))


def plot(page: Any, title: str) -> dict[str, Any]:
    """Series → values of a plot."""
    found = next(one for one in page.context["plots"] if one["title"] == title)
    data = json.loads(found["data"])
    return {series["label"]: series["data"] for series in data["datasets"]} | {"labels": data["labels"]}


def cards(page: Any) -> dict[str, str]:
    return {card["title"]: card["number"] for card in page.context["cards"]}


def test_chats_are_counted_by_state(superuser: Client, by_state: None) -> None:
    page = superuser.get(HOME)
    shown = plot(page, "Chats by state")
    assert [name for name, _ in shown["labels"]] == ["idle", "running", "interrupting", "client", "error", "archived"]
    assert shown["all"] == [1, 2, 2, 2, 2, 4]
    assert shown["with a queue"] == [0, 1, 1, 1, 1, 1]
    assert cards(page) == {
        "Running": "4", "Waiting for a worker": "2", "Waiting for a client": "2", "Stopped on an error": "2",
    }  # fmt: skip


def test_of_a_big_table_only_what_rests_is_estimated(
    superuser: Client, by_state: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = figures.census()
    monkeypatch.setattr(figures, "SMALL", 0)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_chat")
    with CaptureQueriesContext(connection) as statements:
        estimated = figures.census()
    for status in ("running", "interrupting", "requires_action", "error"):
        assert estimated.of(status) == exact.of(status)
    assert not estimated.is_exact
    assert "estimated" in superuser.get(HOME).content.decode()
    whole = [found["sql"] for found in statements if "GROUP BY status, archived" in found["sql"]]
    assert all("LIMIT" in sql for sql in whole)


def test_waiting_chats_are_told_by_how_long_they_wait(superuser: Client, user: Any, published: list[Any]) -> None:
    for seconds in (0, 2, 3, 40, 4000):
        pass_time(chat_in(State.R0, user, owned=False), "waiting_since", seconds)
    chat_in(State.R0, user)
    page = superuser.get(HOME)
    assert plot(page, "Waiting chats, by how long")["chats"] == [1, 2, 0, 1, 1]
    assert "the first for 67 min" in page.content.decode()


def test_a_worker_is_shown_with_its_chats_and_its_oldest_heartbeat(
    superuser: Client, user: Any, published: list[Any]
) -> None:
    WorkerProcess.objects.create(worker_id=WORKER, host="here", pid=1, slots=4)
    WorkerProcess.objects.create(worker_id=uuid4(), host="there", pid=2, slots=8, draining_since=Now())
    chat_in(State.R0, user)
    RunnerLease.objects.filter(chat=chat_in(State.R0, user)).update(heartbeat_at=Now() - timedelta(seconds=15))
    busy, idle = superuser.get(HOME).context["workers"]
    assert (busy["where"], busy["chats"], busy["slots"], busy["share"]) == ("process 1 on here", 2, 4, 50)
    assert busy["heartbeat"] == "15 s"
    assert (idle["where"], idle["chats"], idle["heartbeat"]) == ("process 2 on there", 0, "-")


def test_the_last_hour_is_what_workers_told(superuser: Client, by_state: None) -> None:
    minute = int(time.time() // 60)
    client = hints.redis_client()
    for ago, turns, failures in ((0, 3, 1), (2, 8, 0)):
        key = minute_key(minute - ago)
        client.delete(key)
        client.hset(key, mapping={TURNS: turns, FAILURES: failures, f"{FIRST_PART}0.5": turns})
        client.expire(key, 60)
    page = superuser.get(HOME)
    for ago in (0, 2):
        client.delete(minute_key(minute - ago))
    shown = plot(page, "Turns and failures per minute")
    assert len(shown["labels"]) == figures.MINUTES
    assert sorted(filter(None, shown["turns"])) == [3, 8]
    assert sum(shown["failures"]) == 1
    assert [value for value in plot(page, "Time to first part, in seconds")["median"] if value] == [0.25, 0.25]


def test_without_redis_the_page_says_so(superuser: Client, by_state: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise RedisIsAway("away")

    monkeypatch.setattr(figures, "read_minutes", away)
    page = superuser.get(HOME)
    assert "Redis does not answer" in page.content.decode()
    assert [one["title"] for one in page.context["plots"]] == ["Chats by state", "Waiting chats, by how long"]


def test_the_start_page_needs_a_handful_of_statements(
    superuser: Client, by_state: None, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(7):
        superuser.get(HOME)


def test_who_may_not_look_at_chats_sees_no_figures(staff: Client, by_state: None) -> None:
    page = staff.get(HOME)
    assert page.status_code == 200
    assert "plots" not in page.context
