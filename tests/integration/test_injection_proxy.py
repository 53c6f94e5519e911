"""Real worker processes behind a bad network: everything finishes, nothing is lost, nothing is doubled.

One worker reaches Postgres and Redis through the proxies, the other one directly. Clients and this test are not behind
them: what they were told is known for certain.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from celery import Celery
from django.conf import settings as django_settings

from chat.models import RunnerLease
from chatworker.testing import wait_until
from devtools.chaos.injection.proxy import HOST
from devtools.chaos.injection.proxy_process import ProxyProcess, proxy_process
from tests.injected import Books, balance, beating, converse, database_clock, wait_until_all_rest
from tests.worker_processes import CeleryProcess, database_url, postgres_socket, worker_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
LEASE_TTL = 4.0
LEASES = {"CHATD_LEASE_TTL": f"{LEASE_TTL:g}", "CHATD_HEARTBEAT_INTERVAL": "1", "CHATD_DRAIN_TIMEOUT": "0"}
SLOW = "[chunks 9] [interval 0.2]"
"""An answer that takes more than a second."""


@dataclass
class BadNetwork:
    postgres: ProxyProcess
    redis: ProxyProcess
    behind: CeleryProcess
    direct: CeleryProcess


def redis_socket() -> str:
    return unquote(urlsplit(django_settings.CHATD_REDIS_URL).path)


@pytest.fixture(scope="module")
def network(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BadNetwork]:
    logs = tmp_path_factory.mktemp("workers")
    with ExitStack() as stack:
        postgres = stack.enter_context(proxy_process(postgres_socket(), logs / "postgres.control"))
        redis = stack.enter_context(proxy_process(redis_socket(), logs / "redis.control"))
        through = {"REDIS_URL": f"redis://{HOST}:{redis.port}/0", **LEASES}
        url = database_url(host=HOST, port=postgres.port)
        behind = stack.enter_context(worker_process(logs, url, name="chat-worker-1", restarts=True, **through))
        direct = stack.enter_context(worker_process(logs, database_url(), name="chat-worker-2", **LEASES))
        yield BadNetwork(postgres, redis, behind, direct)


@pytest.fixture
def owner(owner: Any, settings: Any, network: BadNetwork) -> Any:
    settings.CHATD_LEASE_TTL = LEASE_TTL
    return owner


def workers_with_chats() -> int:
    return RunnerLease.objects.values("worker_id").distinct().count()


def consuming() -> int:
    """How many workers hear what is said to them through the broker."""
    with Celery(
        "ping", broker=django_settings.CELERY_BROKER_URL
    ) as app:  # our own forgets its connections after a test
        return len(app.control.ping(timeout=1.0))


def talk(owner: Any, misbehave: Any, *, chats: int = 8, turns: int = 3) -> Books:
    """Chats that run while `misbehave()` does its work; at rest on return."""
    books = Books()
    wait_until(consuming, lambda workers: workers == 2, timeout=60)  # also one that the test before had cut off
    with beating(), ThreadPoolExecutor(chats, thread_name_prefix="chat-client") as clients:
        talking = [clients.submit(converse, books, owner, turns=turns, more=SLOW) for _ in range(chats)]
        wait_until(workers_with_chats, lambda workers: workers == 2, timeout=20)
        misbehave()
        for client in talking:
            client.result()
        wait_until_all_rest(timeout=90)
    return books


@pytest.mark.parametrize("server", ["postgres", "redis"])
@pytest.mark.parametrize("mode", ["delay", "drop", "refuse", "cut"])
def test_a_worker_behind_a_bad_network_loses_nothing_and_doubles_nothing(
    network: BadNetwork, owner: Any, server: str, mode: str
) -> None:
    proxy: ProxyProcess = getattr(network, server)
    before, said, told = proxy.counts.get("reset", 0), len(network.behind.log()), len(network.direct.log())

    def for_longer_than_a_lease() -> None:
        began = database_clock()
        proxy.behave(mode, 0.15)
        try:
            wait_until(database_clock, lambda now: now > began + LEASE_TTL + 1, timeout=LEASE_TTL * 6)
            if (server, mode) == ("postgres", "drop"):
                wait_until(network.direct.log, lambda log: "chat.taken_over" in log[told:], timeout=20)
        finally:
            proxy.behave("pass")

    def misbehave() -> None:
        if mode != "cut":
            for_longer_than_a_lease()
        for _ in range(10 if mode == "cut" else 0):
            known = proxy.counts["accepted"]
            proxy.behave("cut")
            wait_until(
                lambda known=known: proxy.counts["accepted"] > known or not RunnerLease.objects.exists(),
                bool,
                timeout=20,
            )

    books = talk(owner, misbehave)
    assert balance(books) == len(books.ok) == 24
    assert mode != "cut" or proxy.counts["reset"] > before
    if (server, mode) == ("postgres", "drop"):
        assert "lease.not_renewed_in_time" in network.behind.log()[said:], "it was cut off for longer than its leases"
