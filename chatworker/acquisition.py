"""Taking a chat: which ones nobody works on, and the lock under which one worker gets one.

A wake-up or the sweep only nominates; `acquire` decides, with the chat's row locked: it must be runnable, and its
owner, if it has one, must have let the lease expire. Whoever comes second sees a fresh lease and skips.
"""

from uuid import UUID

import structlog
from django.conf import settings
from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from chat import capacity, hints, rows, transitions
from chat.crash import crash_point
from chat.errors import ChatNotFound
from chat.execution import RUNNABLE, Status
from chat.models import Chat
from chat.presence import dead_workers
from chat.update import chat_update
from chatworker import metrics
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
    crash_point("acquire.before")
    try:
        with chat_update(chat_id) as update:
            chat = update.chat
            if update.state not in RUNNABLE:
                raise Skip
            taken_over_from = chat.runner_id
            if taken_over_from is not None and rows.lease_is_fresh(chat_id, taken_over_from):
                raise Skip
            stands_in_line = taken_over_from is None and chat.status == Status.RUNNING
            if stands_in_line and not capacity.may_start(chat_id, sub_agents=chat.root_id is not None):
                raise Skip
            waiting_since = chat.waiting_since
            transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
            step = begin_step(update)
    except (Skip, ChatNotFound):
        return None
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        # Somebody holds the row for long. What they commit wakes again, and so does the sweep.
        logger.warning("chat.not_taken", chat_id=str(chat_id), error=repr(error).strip())
        return None
    crash_point("acquire.after")
    if waiting_since is not None:
        metrics.ACQUISITION_WAIT.observe((chat.updated_at - waiting_since).total_seconds())
    if taken_over_from is not None:
        metrics.TAKEOVERS.inc()
        logger.info("chat.taken_over", chat_id=str(chat_id), runner_id=str(runner_id), from_=str(taken_over_from))
    return step


def chats_without_owner(*, grace: float = GRACE, limit: int = SWEEP_LIMIT) -> list[UUID]:
    """Chats to wake a worker for: those that stand in no line, then those whose turn it is.

    Nobody's for `grace` seconds, that is: until then their own wake-up is on its way.
    """
    found = chats_out_of_line(grace=grace, limit=limit)
    for sub_agents in (False, True):
        found += capacity.next_in_line(sub_agents=sub_agents, grace=grace, limit=limit)
    return found[:limit]


def chats_out_of_line(*, grace: float = 0.0, limit: int) -> list[UUID]:
    """Chats that no limit holds up: to be stopped and nobody's for `grace` seconds, or left by their owner."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM chat_chat WHERE status = 'interrupting'
                   AND waiting_since <= now() - %(grace)s * interval '1 second'
               UNION ALL
               SELECT chat.id FROM chat_chat chat
               LEFT JOIN chat_runnerlease lease ON lease.chat_id = chat.id AND lease.runner_id = chat.runner_id
               WHERE chat.status IN ('running', 'interrupting') AND NOT chat.archived AND chat.runner_id IS NOT NULL
               AND (lease.heartbeat_at IS NULL OR lease.heartbeat_at <= now() - %(ttl)s * interval '1 second')
               LIMIT %(limit)s""",
            {"grace": grace, "ttl": settings.CHATD_LEASE_TTL, "limit": limit},
        )
        return [row[0] for row in cursor.fetchall()]


def wake_waiting_chats(*, grace: float = GRACE) -> int:
    """The sweep: a wake-up for every chat that nobody works on, those of dead workers included; the number sent."""
    crash_point("sweep.before")
    dead_workers.take_leases()
    found = chats_without_owner(grace=grace)
    if found:
        found = found[: max(0, SWEEP_LIMIT - hints.waiting_wake_ups())]
    for chat_id in found:
        hints.publish_wake_up(chat_id)
    if found:
        logger.info("sweep.woke", chats=len(found))
    crash_point("sweep.after")
    return len(found)


def wake_next_in_line() -> None:
    """A chat has ended: tell whoever waits for its place under a limit, not only with the next sweep."""
    for sub_agents in (False, True):
        for chat_id in capacity.next_in_line(sub_agents=sub_agents, limit=1):
            hints.publish_wake_up(chat_id)


def fairest(woken: UUID) -> UUID:
    """The chat that the last free slot of a worker is for, whatever wakes it: wake-ups that wait have no other order.

    One that stands in no line; else the first in line, of `woken`'s line where both wait.
    """
    if out_of_line := chats_out_of_line(limit=SWEEP_LIMIT):
        return woken if woken in out_of_line else out_of_line[0]
    chat = Chat.objects.filter(pk=woken, status=Status.RUNNING, waiting_since__isnull=False).only("root_id").first()
    if chat is None:
        return woken  # to be stopped, left by its owner, or not waiting at all
    return next(iter(capacity.next_in_line(sub_agents=chat.root_id is not None, limit=1)), woken)
