"""How many chats may run at the same time, whose turn is next, and which place in the line a chat has.

Chats that people began and chats of sub-agents have limits and a line of their own, so that agents can neither starve
people nor wait for themselves. The line is fair by owner: who has fewer chats running, and waiting before, comes first;
between equals, who waits longer. What runs is what has a fresh lease. A chat that was taken before and lost its worker,
and one that is to be stopped, do not wait in line.

Limits are kept under an advisory lock that every acquisition in a line takes; without limits nobody takes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from chat.execution import Status
from chat.models import Chat
from chat.presence import LOCK_IS_HELD
from chat.rows import require_transaction

_LOCK_CLASS = 0x6368  # "ch": apart from the locks of workers, whose keys are whole 64 bits


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none."""

    total: int
    per_owner: int

    def __bool__(self) -> bool:
        return bool(self.total or self.per_owner)


def limits(*, sub_agents: bool) -> Limits:
    """Of the line of sub-agents, or of that of the chats that people began."""
    if sub_agents:
        return Limits(settings.CHATD_MAX_SUB_AGENTS, settings.CHATD_MAX_SUB_AGENTS_PER_OWNER)
    return Limits(settings.CHATD_MAX_CHATS, settings.CHATD_MAX_CHATS_PER_OWNER)


def is_limited() -> bool:
    """Whether any limit is set at all."""
    return any(limits(sub_agents=sub_agents) for sub_agents in (False, True))


# `turn`: how many chats its owner would then have running. `place`: in the line. Both from 1.
_LINE = """
    running AS (
        SELECT chat.owner_id, count(*) AS chats FROM chat_runnerlease lease
        JOIN chat_chat chat ON chat.id = lease.chat_id AND chat.runner_id = lease.runner_id
        WHERE lease.heartbeat_at > now() - %(ttl)s * interval '1 second' AND (chat.root_id IS NOT NULL) = %(sub_agents)s
        GROUP BY chat.owner_id),
    waiting AS (
        SELECT chat.id, chat.waiting_since, coalesce(running.chats, 0)
            + row_number() OVER (PARTITION BY chat.owner_id ORDER BY chat.waiting_since, chat.id) AS turn
        FROM chat_chat chat LEFT JOIN running ON running.owner_id = chat.owner_id
        WHERE chat.waiting_since IS NOT NULL AND chat.status = 'running'
        AND (chat.root_id IS NOT NULL) = %(sub_agents)s),
    line AS (
        SELECT id, waiting_since, turn, row_number() OVER (ORDER BY turn, waiting_since, id) AS place,
            row_number() OVER (PARTITION BY turn <= %(per_owner)s OR %(per_owner)s = 0
                ORDER BY turn, waiting_since, id) AS place_among_allowed
        FROM waiting),
    allowed AS (
        SELECT id, place, waiting_since FROM line WHERE (turn <= %(per_owner)s OR %(per_owner)s = 0)
        AND (place_among_allowed <= %(total)s - (SELECT coalesce(sum(chats), 0) FROM running) OR %(total)s = 0))"""


def _parameters(*, sub_agents: bool, **more: Any) -> dict[str, Any]:
    allowed = limits(sub_agents=sub_agents)
    return {
        "ttl": settings.CHATD_LEASE_TTL,
        "sub_agents": sub_agents,
        "total": allowed.total,
        "per_owner": allowed.per_owner,
        **more,
    }


def may_start(chat_id: UUID, *, sub_agents: bool) -> bool:
    """Whether it is this chat's turn; until the transaction ends, nobody else starts one of the same line."""
    require_transaction()
    if not limits(sub_agents=sub_agents):
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, int(sub_agents)])
        cursor.execute(
            f"WITH {_LINE} SELECT EXISTS (SELECT FROM allowed WHERE id = %(id)s)",
            _parameters(sub_agents=sub_agents, id=chat_id),
        )
        return bool(cursor.fetchone()[0])


def next_in_line(*, sub_agents: bool, limit: int, grace: float = 0.0) -> list[UUID]:
    """The waiting chats that may start now, in their order; of those that wait for `grace` seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH {_LINE} SELECT id FROM allowed WHERE waiting_since <= now() - %(grace)s * interval '1 second'"
            " ORDER BY place LIMIT %(limit)s",
            _parameters(sub_agents=sub_agents, limit=limit, grace=grace),
        )
        return [row[0] for row in cursor.fetchall()]


def places_in_line(chats: Iterable[Chat]) -> dict[UUID, int]:
    """The places of those that stand in line, 1 for the chat that starts next; the others need not wait."""
    places: dict[UUID, int] = {}
    waiting = [chat for chat in chats if chat.waiting_since is not None and chat.status == Status.RUNNING]
    for sub_agents in (False, True):
        wanted = [chat.pk for chat in waiting if (chat.root_id is not None) is sub_agents]
        if wanted:
            places |= _places(wanted, sub_agents=sub_agents)
    return places


def _places(chat_ids: list[UUID], *, sub_agents: bool) -> dict[UUID, int]:
    """Without those that may start, while a worker has a free slot.

    Where no worker is alive there is no line either; that is what `manage.py explain_chat` is for.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""WITH {_LINE},
                slots AS (SELECT coalesce(sum(slots), 0) AS all_of_them FROM chat_workerprocess worker
                    WHERE draining_since IS NULL AND {LOCK_IS_HELD.format(worker_id="worker.worker_id")}),
                taken AS (SELECT count(*) AS slots FROM chat_runnerlease
                    WHERE heartbeat_at > now() - %(ttl)s * interval '1 second')
                SELECT line.id, place FROM line, slots, taken WHERE line.id = ANY(%(ids)s) AND (
                    NOT EXISTS (SELECT FROM allowed WHERE allowed.id = line.id)
                    OR (slots.all_of_them > 0 AND taken.slots >= slots.all_of_them))""",
            _parameters(sub_agents=sub_agents, ids=chat_ids),
        )
        return dict(cursor.fetchall())
