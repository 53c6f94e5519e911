"""At every crash point: the work fails there once, in a real worker, and the turn still ends as it should.

That a process may end there is shown with real processes, in tests/acceptance/test_injected_faults.py.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from chat import hints, transitions
from chat.crash import POINTS, Chaos, CrashPoint
from chat.update import chat_read, chat_update
from chatworker import acquisition
from chatworker.testing import wait_until, wait_until_idle
from tests.injected import running_workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(60)]

PLAIN = "Hello [say Good day.]"
SLOW = "Hello [long 60] [interval 0.05]"
CALLING = "Hello [call weather {}] [then] [say Good day.]"
FAILING = "Hello {} [fail 529 times 1] [say Good day.]"
NOT_IN_A_TURN = (
    "post.", "creation.", "hand_over.", "door.fence_refused", "sweep.", "wake_up.", "archive.", "purge.",
)  # fmt: skip
IN_A_TURN = sorted(point for point in POINTS if not point.startswith(NOT_IN_A_TURN))


@pytest.fixture
def owner(owner: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    settings.CHATD_LEASE_TTL, settings.CHATD_HEARTBEAT_INTERVAL = 2.0, 0.3
    monkeypatch.setattr("chatworker.failure.BACKOFF_FROM", 0.05)
    monkeypatch.setattr("chatworker.worker.SYNC_EVERY", 0.5)
    return owner


def chat_of(owner: Any, text: str) -> UUID:
    """A chat that waits for a worker; nobody has been told."""
    published, hints.publish_wake_up = hints.publish_wake_up, lambda chat_id: None
    try:
        return transitions.create_chat(owner=owner, parts=[{"type": "text", "text": text}]).pk
    finally:
        hints.publish_wake_up = published


def said(chat_id: UUID) -> list[tuple[str, str]]:
    messages = sorted(chat_read(chat_id).messages, key=lambda row: row["id"])
    return [(row["role"], "".join(part.get("text", "") for part in row["parts"])) for row in messages]


def prompt_for(point: str) -> str:
    if point.startswith(("interrupt.", "heartbeat.")):
        return SLOW
    if point.startswith("tools."):
        return CALLING
    return FAILING.format(uuid4()) if point == "retry.recorded" else PLAIN


@pytest.mark.parametrize(
    ("point", "action"),
    [
        (point, action)
        for point in IN_A_TURN
        for action in ("raise", "sleep:0.3")
        if (point.partition(".")[0], action) != ("heartbeat", "raise")  # a worker without that thread is no worker
    ],
)
def test_a_turn_that_fails_or_hangs_once_at_a_crash_point_ends_as_it_should(
    owner: Any, arm: Callable[[str], Chaos], point: str, action: str
) -> None:
    text = prompt_for(point)
    with running_workers(1):
        chat_id = chat_of(owner, text)
        chaos = arm(f"{point}={action}")
        hints.publish_wake_up(chat_id)
        if point.startswith("interrupt."):
            wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt > 0, timeout=10)
            with chat_update(chat_id) as update:
                transitions.interrupt(update)
        snapshot = wait_until_idle(chat_id, timeout=30)
    assert chaos._fired[point] == 1
    assert snapshot.state == "W"
    assert said(chat_id)[0] == ("user", text)
    roles = [role for role, _ in said(chat_id)]
    if point.startswith("interrupt."):
        assert roles in (["user"], ["user", "assistant"])
    elif point.startswith("tools."):
        assert roles == ["user", "assistant", "tool", "assistant"]
    else:
        assert roles == ["user", "assistant"]


def test_a_sweep_that_fails_is_followed_by_the_next_one(owner: Any, arm: Callable[[str], Chaos]) -> None:
    chaos = arm("sweep.before=raise; sweep.after=raise")
    with pytest.raises(CrashPoint, match="before"):
        acquisition.wake_waiting_chats(grace=0)
    with pytest.raises(CrashPoint, match="after"):
        acquisition.wake_waiting_chats(grace=0)
    assert acquisition.wake_waiting_chats(grace=0) == 0
    assert chaos._fired == {"sweep.before": 1, "sweep.after": 1}


@pytest.mark.parametrize("point", ["wake_up.before", "wake_up.after", "hint.before", "hint.after", "door.committed"])
def test_a_publication_that_fails_undoes_nothing_and_the_sweep_finds_the_chat(
    owner: Any, arm: Callable[[str], Chaos], point: str
) -> None:
    chaos = arm(f"{point}=raise")
    chat_id = transitions.create_chat(owner=owner, parts=[{"type": "text", "text": PLAIN}]).pk
    assert chaos._fired == {point: 1}
    with running_workers(1):
        assert wait_until_idle(chat_id, timeout=30).state == "W"
    assert said(chat_id) == [("user", PLAIN), ("assistant", "Good day.")]
