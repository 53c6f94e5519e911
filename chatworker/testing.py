"""For tests of this project and of yours: wait for a chat, with a limit of the caller's own."""

import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from chat.execution import RUNNABLE
from chat.update import ChatSnapshot, chat_read

T = TypeVar("T")
POLL_EVERY = 0.01


class StillBusy(AssertionError):
    """The chat did not come to rest in the time that the caller gave it."""


def wait_until_idle(chat_id: UUID, *, timeout: float) -> ChatSnapshot:
    """The chat once nobody owns it and nothing is to do; `timeout` in seconds. Raises `StillBusy`."""
    return wait_until(
        lambda: chat_read(chat_id),
        lambda snapshot: snapshot.state not in RUNNABLE and snapshot.chat.runner_id is None,
        timeout=timeout,
    )


def wait_until(read: Callable[[], T], holds: Callable[[T], bool], *, timeout: float) -> T:
    """What `read` gives once `holds` is true of it. Raises `StillBusy` with the last reading."""
    deadline = time.monotonic() + timeout
    while True:
        found = read()
        if holds(found):
            return found
        if time.monotonic() > deadline:
            raise StillBusy(f"after {timeout:g} s: {_in_words(found)}")
        time.sleep(POLL_EVERY)


def _in_words(found: object) -> str:
    if isinstance(found, ChatSnapshot):
        return f"{found.state}, {found.chat.last_error or found.messages[-1:]}"
    return repr(found)
