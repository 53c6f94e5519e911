"""The detector that watches every test (`tests/leaks.py`) finds each kind of thing that may be left behind."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.leaks import LeftBehind, leaves_nothing_behind


@contextmanager
def _thread() -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(10,), name="left-behind")
    thread.start()
    yield
    over.set()
    thread.join()


@contextmanager
def _task() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(3600), name="left-behind")
    loop.run_until_complete(asyncio.sleep(0))
    yield
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


@contextmanager
def _child() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()  # left-behind"], stdin=subprocess.PIPE) as child:
        yield
        child.communicate(b"\n")


@contextmanager
def _zombie() -> Iterator[None]:
    child = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # it has ended, and nobody has waited for it
    child.stdout.close()
    yield
    child.wait()


@contextmanager
def _postgres() -> Iterator[None]:
    parameters = connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
    parameters.pop("server_side_binding", None)
    with psycopg.connect(**{k: v for k, v in parameters.items() if k not in ("context", "prepare_threshold")}):
        yield


@contextmanager
def _redis() -> Iterator[None]:
    with redis.Redis.from_url(settings.CHATD_REDIS_URL) as client:
        client.ping()
        yield


@contextmanager
def _subscription() -> Iterator[None]:
    with redis.Redis.from_url(settings.CHATD_REDIS_URL) as client, client.pubsub() as pubsub:
        pubsub.subscribe("chatd:left-behind")
        yield


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "a thread": (_thread, "threads: left-behind"),
    "an asyncio task": (_task, "tasks: "),
    "a child process": (_child, "children: "),
    "a child process that nobody waited for": (_zombie, "children: "),
    "a database connection": (_postgres, "sockets: "),
    "a Redis connection": (_redis, "sockets: "),
    "a subscription": (_subscription, "sockets: "),
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_left_behind_is_found(kind: str) -> None:
    begin, words = KINDS[kind]
    left = begin()
    try:
        with pytest.raises(LeftBehind, match=words), leaves_nothing_behind():
            left.__enter__()
    finally:
        left.__exit__(None, None, None)
        gc.collect()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_ended_in_time_is_not_held_against_a_test(kind: str) -> None:
    with leaves_nothing_behind(), KINDS[kind][0]():
        pass
