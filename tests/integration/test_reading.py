"""`chat_read`: a chat as it stands at one moment; it locks nothing, changes nothing and waits for nobody."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat import transitions
from chat.execution import State
from chat.models import ChatMessage
from chat.update import chat_read, chat_update
from tests.factories import ANSWERED, LIVE_STATES, SAID, chat_in, chat_row, photograph, queue_of
from tests.threads import Threads, check
from tests.transition_calls import TEXT

R1 = State.R1

rolled_back = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


@rolled_back
@pytest.mark.parametrize("state", LIVE_STATES)
def test_a_reading_shows_the_chat_and_changes_nothing(
    state: State, user: Any, published: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    chat_id = chat_in(state, user)
    before, row = photograph(), chat_row(chat_id)
    with django_capture_on_commit_callbacks(execute=True), CaptureQueriesContext(connection) as statements:
        snapshot = chat_read(chat_id)
    assert len(statements) == 1
    assert "FOR UPDATE" not in statements[0]["sql"]
    assert snapshot.state is state
    assert {name: getattr(snapshot.chat, name) for name in row} == row
    assert [message["parts"] for message in snapshot.messages] == [
        message.parts for message in ChatMessage.objects.filter(chat_id=chat_id).order_by("id")
    ]
    assert [queued["parts"][0]["text"] for queued in snapshot.queue] == queue_of(chat_id)
    assert snapshot.has_fresh_lease
    assert (photograph(), published) == (before, [])


@committed
def test_a_reading_waits_for_no_update_and_sees_none_by_half(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(R1, user, history=(SAID, ANSWERED))
    done = threading.Event()

    def say_more() -> None:
        try:
            for _ in range(30):
                with chat_update(chat_id) as update:
                    transitions.finish_turn(update)
                    transitions.send_message(update, parts=TEXT, author=user)
        finally:
            done.set()

    versions = set()
    with Threads() as others:
        others.start(say_more)
        while True:
            last = done.is_set()
            snapshot = chat_read(chat_id)
            version = snapshot.chat.snapshot_version
            versions.add(version)
            assert snapshot.state is R1
            assert len(snapshot.messages) == 2 + version - 7
            assert len(snapshot.queue) == 1
            if version > 7:
                assert snapshot.chat.history_version == snapshot.chat.queue_version == version
                assert snapshot.messages[-1]["revision"] == version
            if last:
                break
    assert max(versions) == 37
    with chat_update(chat_id), Threads() as others:
        others.start(lambda: check(chat_read(chat_id).chat.snapshot_version == 37))
