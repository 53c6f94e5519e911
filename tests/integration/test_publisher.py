"""Hints that nobody waits for: they arrive, also after Redis hung up, and one that cannot be sent says so."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import redis
from django.conf import settings

from chat.outage import REDIS_AWAY
from chat.publisher import Publisher
from chatworker.testing import wait_until
from devtools.chaos.injection.proxy import HOST
from devtools.chaos.injection.proxy_process import proxy_process
from tests.threads import Threads

CHANNEL = "chatd:test:publisher"


@pytest.fixture
def client() -> Iterator[Any]:
    with redis.Redis.from_url(settings.CHATD_REDIS_URL, socket_timeout=5, decode_responses=True) as client:
        yield client


@pytest.fixture
def publisher(client: Any) -> Iterator[Publisher]:
    publisher = Publisher(client.connection_pool, patience=0.2)
    yield publisher
    publisher.close()


@pytest.fixture
def heard(client: Any) -> Iterator[Any]:
    """Messages as they come."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(CHANNEL)
        wait_until(lambda: client.pubsub_numsub(CHANNEL), lambda found: found[0][1] == 1, timeout=5)
        yield (message["data"] for message in pubsub.listen())


def test_messages_arrive_in_the_order_in_which_they_were_published(publisher: Publisher, heard: Any) -> None:
    for number in range(100):
        publisher.publish(CHANNEL, str(number))
    assert [next(heard) for _ in range(100)] == [str(number) for number in range(100)]


def test_messages_of_many_threads_are_not_mixed_up(publisher: Publisher, heard: Any) -> None:
    def publish(word: str) -> None:
        for _ in range(50):
            publisher.publish(CHANNEL, word * 1000)

    with Threads() as eight:
        for word in "abcdefgh":
            eight.start(partial(publish, word))
    assert sorted(next(heard) for _ in range(400)) == sorted(word * 1000 for word in "abcdefgh" for _ in range(50))


def test_the_message_after_redis_hung_up_is_not_lost(publisher: Publisher, heard: Any, client: Any) -> None:
    publisher.publish(CHANNEL, "before")
    assert next(heard) == "before"
    client.client_kill_filter(_type="normal", skipme=True)
    publisher.publish(CHANNEL, "after")
    assert next(heard) == "after"


def test_the_message_after_redis_hung_up_is_not_lost_over_tcp_either(heard: Any, client: Any, tmp_path: Path) -> None:
    socket = unquote(urlsplit(settings.CHATD_REDIS_URL).path)
    with (
        proxy_process(socket, tmp_path / "control") as proxy,
        closing(Publisher(redis.ConnectionPool(host=HOST, port=proxy.port), patience=0.2)) as publisher,
    ):
        publisher.publish(CHANNEL, "before")
        assert next(heard) == "before"
        client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(redis.ConnectionError):  # once the end came through the proxy
            publisher._connection.can_read(timeout=5)
        publisher.publish(CHANNEL, "after")
        assert next(heard) == "after"


def test_a_redis_that_is_not_there_is_an_error(publisher: Publisher) -> None:
    nowhere = Publisher(redis.ConnectionPool.from_url("unix:///nowhere/redis.sock"), patience=0.2)
    with pytest.raises(REDIS_AWAY):
        nowhere.publish(CHANNEL, "heard by nobody")


def test_publishing_waits_for_no_answer(publisher: Publisher, client: Any, heard: Any) -> None:
    publisher.publish(CHANNEL, "connects")
    assert next(heard) == "connects"
    client.client_pause(60_000, all=False)
    try:
        publisher.publish(CHANNEL, "while Redis answers nobody")
    finally:
        client.client_unpause()
    assert next(heard) == "while Redis answers nobody"


def test_nobody_waits_long_behind_who_waits_for_a_redis_that_hangs(publisher: Publisher) -> None:
    with publisher._one_at_a_time, pytest.raises(REDIS_AWAY):
        publisher.publish(CHANNEL, "heard by nobody")


FORKS_WHILE_SOMEBODY_PUBLISHES = """
import os, django
django.setup()
from chat import hints
hints._publisher().publish("chatd:test:publisher", "parent")
hints._publisher()._one_at_a_time.acquire()
child = os.fork()
if child == 0:
    hints._publisher().publish("chatd:test:publisher", "child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
hints._publisher()._one_at_a_time.release()
hints._publisher().publish("chatd:test:publisher", "parent again")
"""


def test_a_forked_child_publishes_over_a_connection_of_its_own(heard: Any) -> None:
    subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_SOMEBODY_PUBLISHES],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}, check=True, timeout=60,
    )  # fmt: skip
    assert [next(heard) for _ in range(3)] == ["parent", "child", "parent again"]
