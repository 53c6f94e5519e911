"""Taking a chat: which ones nobody works on, and the lock under which one worker gets one.

A wake-up or the sweep only nominates; `acquire` decides, with the chat's row locked: it must be runnable, and its
owner, if it has one, must have let the lease expire. Whoever comes second sees a fresh lease and skips.
"""

from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from chat import hints, rows, transitions
from chat.errors import ChatNotFound
from chat.execution import RUNNABLE
from chat.update import chat_update
from chatworker.work.step import Step, begin_step

logger = structlog.get_logger(__name__)

GRACE = 1.0
"""Seconds that a chat may be runnable and unowned before the sweep repeats its wake-up."""
SWEEP_LIMIT = 500
"""Wake-ups per sweep; with as many still waiting in the broker, a sweep adds none."""


class Skip(Exception):
    """There is nothing to take here any more; an everyday event."""


def acquire(chat_id: UUID, worker_id: UUID, runner_id: UUID) -> Step | None:
    """Take the chat and begin its next step, in one transaction; None where there is nothing to take."""
    try:
        with chat_update(chat_id) as update:
            chat = update.chat
            if update.state not in RUNNABLE:
                raise Skip
            taken_over_from = chat.runner_id
            if taken_over_from is not None and rows.lease_is_fresh(chat_id, taken_over_from):
                raise Skip
            transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
            step = begin_step(update)
    except (Skip, ChatNotFound):
        return None
    if taken_over_from is not None:
        logger.info("chat.taken_over", chat_id=str(chat_id), runner_id=str(runner_id), from_=str(taken_over_from))
    return step


def chats_without_owner(*, grace: float = GRACE, limit: int = SWEEP_LIMIT) -> list[UUID]:
    """Runnable chats that nobody owns (for `grace` seconds), or whose owner's lease has expired; longest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT chat.id FROM chat_chat chat
               LEFT JOIN chat_runnerlease lease ON lease.chat_id = chat.id AND lease.runner_id = chat.runner_id
               WHERE chat.status IN ('running', 'interrupting') AND NOT chat.archived
               AND CASE WHEN chat.runner_id IS NULL THEN chat.updated_at <= now() - %s * interval '1 second'
                   ELSE lease.heartbeat_at IS NULL OR lease.heartbeat_at <= now() - %s * interval '1 second' END
               ORDER BY chat.updated_at LIMIT %s""",
            [grace, settings.CHATD_LEASE_TTL, limit],
        )
        return [row[0] for row in cursor.fetchall()]


def wake_waiting_chats(*, grace: float = GRACE) -> int:
    """The sweep: a wake-up for every chat that nobody works on; the number sent."""
    found = chats_without_owner(grace=grace)
    if not found or hints.waiting_wake_ups() >= SWEEP_LIMIT:
        return 0
    for chat_id in found:
        hints.publish_wake_up(chat_id)
    logger.info("sweep.woke", chats=len(found))
    return len(found)
