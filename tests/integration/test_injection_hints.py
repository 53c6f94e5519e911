"""Hints and wake-ups lost, doubled, late and in another order, between real workers: the same, only slower."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError

from chat import hints, transitions
from chat.channels import Hint
from chat.update import chat_read, chat_update
from chatworker.runner import Runner
from chatworker.testing import wait_until, wait_until_idle
from chatworker.work import generate
from devtools.chaos.injection.distortion import Distortion, bad_in, distorted
from tests.injected import Books, asked, balance, converse, counted_calls, running_workers, wait_until_all_rest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
CHATS, TURNS = 12, 3


@pytest.mark.parametrize(
    ("spec", "counted"),
    [
        ("drop=1", "dropped"),
        ("drop=0.3; seed=1", "dropped"),
        ("double=1", "doubled"),
        ("double=0.5; delay=0-300; seed=2", "delayed"),
        ("drop=0.3; double=0.3; delay=0-300; seed=3; kinds=hint,wake-up,sweep", "delayed"),
    ],
)
def test_distorted_hints_lose_nothing_double_nothing_and_cost_no_second_call(
    owner: Any, monkeypatch: pytest.MonkeyPatch, spec: str, counted: str
) -> None:
    books, bad = Books(), bad_in(spec)
    with counted_calls(monkeypatch) as calls, running_workers(2), distorted(Distortion(lambda: bad)) as distortion:
        with ThreadPoolExecutor(CHATS, thread_name_prefix="chat-client") as clients:
            for client in [clients.submit(converse, books, owner, turns=TURNS) for _ in range(CHATS)]:
                client.result()
        wait_until_all_rest(timeout=60)
    assert balance(books) == len(books.ok) == CHATS * TURNS
    assert calls.total() == CHATS * TURNS
    struck = distortion.counts[f"hint {counted}"] + distortion.counts[f"wake-up {counted}"]
    assert struck >= 10, distortion.counts


def test_a_stop_of_which_no_hint_tells_is_heard_with_the_next_sync_long_before_the_answer_ends(owner: Any) -> None:
    endless = "Go on [long 4000] [interval 0.02]"
    with running_workers(1) as (worker,):
        chat_id = transitions.create_chat(owner=owner, parts=[{"type": "text", "text": endless}]).pk
        wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt > 0, timeout=10)
        with distorted(Distortion(lambda: bad_in("drop=1"))), chat_update(chat_id) as update:
            transitions.interrupt(update)
        worker.sync_now()
        wait_until_idle(chat_id, timeout=20)


def test_a_hint_of_a_commit_that_has_not_returned_yet_begins_nothing(
    owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit began the next queued message's turn; its hint is here before the runner knows that it committed."""
    commit_answer, offer = generate._commit_answer, Runner.offer
    heard = threading.Event()
    begun: list[tuple[int, int]] = []

    def commits_and_lingers(*arguments: Any) -> Any:
        following = commit_answer(*arguments)
        assert heard.wait(10)
        for _ in range(3):  # and time for the runner to do something about it
            heard.clear()
            worker.sync_now()
            assert heard.wait(10)
        return following

    def hears(runner: Runner, hint: Hint) -> None:
        offer(runner, hint)
        begun.append((hint.history_version, hint.generation_attempt))
        heard.set()

    with running_workers(1) as (worker,):
        with monkeypatch.context() as silent:
            silent.setattr(hints, "publish_wake_up", lambda chat_id: None)
            chat = transitions.create_chat(owner=owner, parts=[{"type": "text", "text": asked(1)}])
            with chat_update(chat.pk) as update:
                transitions.send_message(update, parts=[{"type": "text", "text": asked(2)}], author=owner)
        monkeypatch.setattr(generate, "_commit_answer", commits_and_lingers)
        monkeypatch.setattr(Runner, "offer", hears)
        hints.publish_wake_up(chat.pk)
        wait_until_all_rest(timeout=30)
    assert balance(Books(ok=[asked(1), asked(2)])) == 2
    assert {attempt for _, attempt in begun} <= {0, 1}, "each step was begun once"


def test_a_hint_that_waited_behind_a_commit_of_unknown_outcome_does_not_begin_the_next_step_a_second_time(
    owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit began the next queued message's turn and told nobody; a sync tells the runner before its retry."""
    commit_answer, offer, begin, look = generate._commit_answer, Runner.offer, Runner._begin, Runner._look
    committed: list[int] = []
    looks: list[Runner] = []
    begun: list[Runner] = []
    heard, second_look = threading.Event(), threading.Event()

    def commits_and_breaks(*arguments: Any) -> Any:
        if committed:
            return commit_answer(*arguments)
        committed.append(commit_answer(*arguments).snapshot_version)
        worker.sync_now()
        assert heard.wait(10)
        for _ in range(10):  # turns of the loop, in which the runner takes the hint and begins to wait
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), worker._loop).result()
        raise OperationalError("the connection was lost in COMMIT")

    def hears(runner: Runner, hint: Hint) -> None:
        offer(runner, hint)
        if committed and hint.snapshot_version >= committed[0]:
            heard.set()

    def looks_what_is_next(runner: Runner) -> Any:
        looks.append(runner)
        return look(runner)

    def the_first_is_slow(runner: Runner) -> Any:
        begun.append(runner)
        if len(begun) == 1:
            second_look.wait(1)
            return begin(runner)
        began = begin(runner)
        second_look.set()
        return began

    monkeypatch.setattr(generate, "_commit_answer", commits_and_breaks)
    monkeypatch.setattr(Runner, "offer", hears)
    monkeypatch.setattr(Runner, "_look", looks_what_is_next)
    monkeypatch.setattr(Runner, "_begin", the_first_is_slow)
    with counted_calls(monkeypatch) as calls, running_workers(1) as (worker,):
        with monkeypatch.context() as silent:
            silent.setattr(hints, "publish_wake_up", lambda chat_id: None)
            chat = transitions.create_chat(owner=owner, parts=[{"type": "text", "text": asked(1)}])
            with chat_update(chat.pk) as update:
                transitions.send_message(update, parts=[{"type": "text", "text": asked(2)}], author=owner)
        hints.publish_wake_up(chat.pk)
        wait_until_all_rest(timeout=30)
    assert committed
    assert len(looks) == 1, "what is next was asked once, however slow the database"
    assert balance(Books(ok=[asked(1), asked(2)])) == 2
    assert calls == {asked(1): 1, asked(2): 1}, "one call of the model for each message"
