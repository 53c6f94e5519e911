"""Turns under injected faults: clients that talk, workers that answer, and the books that must balance afterwards.

A client keeps what it asked and what it was told: "ok" must be there exactly once, "unknown" once or not at all. Each
text is said once and carries its own answer (`[say answer 17]`), so nothing can be mistaken for something else.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, InterfaceError, connection, connections
from django.db.models import Q

from chat import hints, transitions
from chat.execution import RUNNABLE
from chat.models import Chat, RunnerLease
from chat.update import chat_read, chat_update
from chatworker import acquisition
from chatworker.models.client import LibraryClient
from chatworker.testing import wait_until
from chatworker.worker import ChatWorker

BEAT_EVERY = 0.3
LOST = (DatabaseError, InterfaceError)


def asked(number: int, *, more: str = "") -> str:
    return f"question {number} [say answer {number}] {more}".strip()


@dataclass
class Books:
    """What clients said, and what became of it as far as they were told."""

    ok: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    chats: set[UUID] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def say(self, send: Callable[[str], Any], *, more: str = "") -> Any:
        """`send` a new text, however often the outcome stays unknown, each time another one; what it returned."""
        while True:
            with self._mutex:
                text = asked(next(self._numbers), more=more)
            try:
                sent = send(text)
            except LOST:
                with self._mutex:
                    self.unknown.append(text)
                continue
            with self._mutex:
                self.ok.append(text)
            return sent


def converse(books: Books, owner: Any, *, turns: int, more: str = "") -> None:
    """One client: a chat of so many messages; those that come while it is busy are queued."""

    def begin(text: str) -> UUID:
        return transitions.create_chat(owner=owner, parts=[{"type": "text", "text": text}]).pk

    def go_on(text: str) -> None:
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=[{"type": "text", "text": text}], author=owner)

    try:
        chat_id = books.say(begin, more=more)
        books.chats.add(chat_id)
        for _ in range(turns - 1):
            books.say(go_on, more=more)
    finally:
        connections.close_all()


@contextmanager
def running_workers(count: int, *, slots: int = 16) -> Iterator[list[ChatWorker]]:
    """Workers in this process that hear wake-ups as Celery's pool would, each in its turn, and a beat that sweeps."""
    workers = [ChatWorker(slots=slots) for _ in range(count)]
    turn = 0
    publish = hints.publish_wake_up
    with ExitStack() as leaving, ThreadPoolExecutor(slots * count, thread_name_prefix="pool") as pool:

        def wake(chat_id: UUID) -> None:
            nonlocal turn
            turn += 1
            with suppress(RuntimeError):  # the pool has ended: this one is lost, as any may be
                pool.submit(workers[turn % count].run_chat, chat_id)

        hints.publish_wake_up = wake
        leaving.callback(setattr, hints, "publish_wake_up", publish)
        for worker in workers:
            worker.start()
            leaving.callback(worker.stop, drain_timeout=0)
        leaving.enter_context(beating())
        yield workers


@contextmanager
def beating() -> Iterator[None]:
    """What beat and the maintenance worker do every second, faster."""
    over = threading.Event()

    def beat() -> None:
        try:
            while not over.wait(BEAT_EVERY):
                acquisition.wake_waiting_chats(grace=BEAT_EVERY)
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, name="beat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_until_all_rest(*, timeout: float) -> None:
    """Until no chat has anything to do and nobody owns one; read by the calling thread. `timeout` in seconds."""
    busy = Chat.objects.filter(Q(status__in=["running", "interrupting"]) | Q(runner_id__isnull=False))
    wait_until(busy.count, lambda chats: chats == 0, timeout=timeout)
    assert not RunnerLease.objects.exists()


def balance(books: Books) -> int:
    """Every acknowledged message once, every unknown one at most once, each answered once and in order; how many."""
    seen: Counter[str] = Counter()
    for chat_id in Chat.objects.values_list("id", flat=True):
        snapshot = chat_read(chat_id)
        assert snapshot.state not in RUNNABLE
        assert not snapshot.queue
        said = [
            (row["role"], "".join(part.get("text", "") for part in row["parts"]))
            for row in sorted(snapshot.messages, key=lambda row: row["id"])
        ]
        assert len(said) % 2 == 0, said
        for (role, question), (answering, answer) in zip(said[::2], said[1::2], strict=True):
            assert (role, answering) == ("user", "assistant"), said
            assert answer == f"answer {question.split()[1]}", said
            seen[question] += 1
    assert {text: seen[text] for text in books.ok if seen[text] != 1} == {}, "acknowledged, not there exactly once"
    assert {text: count for text, count in seen.items() if count > 1} == {}, "doubled"
    assert set(seen) <= set(books.ok) | set(books.unknown), "nobody said that"
    return seen.total()


@contextmanager
def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often the model was asked for an answer to each text, by workers of this process."""
    calls: Counter[str] = Counter()
    stream = LibraryClient.stream

    def counting(self: LibraryClient, request: Any) -> Any:
        calls[next(part["text"] for part in request.messages[-1].parts if part["type"] == "text")] += 1
        return stream(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(LibraryClient, "stream", counting)
        yield calls


def database_clock() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM now())")
        return float(cursor.fetchone()[0])
