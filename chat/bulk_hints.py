"""The hints of a batch of chats, in one round trip; each as `hints.publish_update` would send it."""

from collections.abc import Iterable
from typing import Any

from chat import hints
from chat.channels import Hint, hint_channel
from chat.crash import crash_point
from chat.execution import State


def publish_updates(chats: Iterable[tuple[Any, State]]) -> None:
    """Tell streams and runners that these chats (their rows after the commit) changed."""
    if crash_point("hint.before"):
        return
    hints._best_effort("hint", lambda: _send([chat for chat, _ in chats]))
    crash_point("hint.after")


def _send(chats: Iterable[Any]) -> None:
    pipeline = hints.redis_client().pipeline(transaction=False)
    for chat in chats:
        pipeline.publish(hint_channel(chat.id), Hint.of(chat).encode())
    pipeline.execute()
