"""A person stops a chat: at once, whether or not somebody works on it.

A fresh owner hears of the interrupt and keeps what it has streamed. Without one nobody would for a while, so the
request does it itself: it closes the last episode, so that whoever still writes to it is refused, and commits what the
episode holds together with the interrupt. Redis is asked before the row is locked; what was read counts only if the
locked row still says the same and still has no fresh owner. Without Redis the stop waits for the next worker, which
may remember more than nothing.
"""

from typing import Any
from uuid import UUID

import structlog

from chat import content, hints, rows, transitions
from chat.draft import NewMessage
from chat.episodes import EpisodeId, close_and_read
from chat.execution import State
from chat.outage import REDIS_AWAY
from chat.snapshot import ChatSnapshot, read_snapshot
from chat.update import ChatUpdate, chat_update

logger = structlog.get_logger(__name__)

NO_MESSAGES = 2**62
"""A revision that no message has: the reading is of the chat's row alone."""


def stop_chat(chat_id: UUID) -> ChatUpdate:
    """Interrupt the chat; its update, committed. Raises `ChatNotFound`, `TransitionNotAllowed`, `InvalidState`."""
    before = read_snapshot(chat_id, after_revision=NO_MESSAGES)
    streamed = None if before.has_fresh_lease else _last_words(before)
    with chat_update(chat_id) as update:
        transitions.interrupt(update)
        if streamed is not None and _nobody_works(update, before):
            finish_with(update, streamed)
            if update.chat.runner_id is not None:
                transitions.abandon(update)
    return update


def finish_with(update: ChatUpdate, streamed: list[dict[str, Any]]) -> None:
    """Finish the interruption of a chat with the deltas of its last episode; every call gets its result."""
    stopped = [_closing(call, content.INTERRUPTED_BY_USER) for call in update.history.outstanding_calls()]
    if malformed := sum(not content.is_delta(delta) for delta in streamed):
        logger.warning("interrupt.parts_malformed", chat_id=str(update.chat.pk), parts=malformed)
    if parts := content.merge_deltas(streamed):
        stopped.append(NewMessage("assistant", parts, model=update.chat.model, interrupted=True))
        stopped += [_closing(call, content.INTERRUPTED_CALL) for call in content.calls_in(parts)]
    transitions.finish_interruption(update, stopped)


def _closing(call: dict[str, Any], reason: str) -> NewMessage:
    return NewMessage("tool", [content.tool_result(call, reason, is_error=True, synthetic=True)])


def _last_words(snapshot: ChatSnapshot) -> list[dict[str, Any]] | None:
    """The deltas of a running chat's last attempt, its episode closed; None where somebody else must finish."""
    chat = snapshot.chat
    if snapshot.state not in (State.R0, State.R1):
        return None
    if not chat.generation_attempt:
        return []
    episode = EpisodeId(chat.pk, chat.history_version, chat.generation_attempt)
    try:
        return close_and_read(hints.redis_client(), episode)
    except REDIS_AWAY as error:
        logger.warning("stop.without_redis", chat_id=str(chat.pk), error=repr(error))
        return None


def _nobody_works(update: ChatUpdate, before: ChatSnapshot) -> bool:
    """Whether the locked chat is still the one whose episode was closed, and nobody has taken it since."""
    chat, known = update.chat, before.chat
    if update.state not in (State.I0, State.I1) or chat.runner_id != known.runner_id:
        return False
    if (chat.history_version, chat.generation_attempt) != (known.history_version, known.generation_attempt):
        return False
    return chat.runner_id is None or not rows.lease_is_fresh(chat.pk, chat.runner_id)
