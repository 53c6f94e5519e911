"""A chat's situation, read from the database in one transaction that sees one moment. Changes nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management import get_commands
from django.db import connection, transaction

from chat import capacity, rows
from chat.content import outstanding_calls
from chat.explain.situation import Call, Limits, Owner, Retry, Situation, Workers
from chat.fleet import Fleet, read_fleet
from chat.models import Chat
from chat.presence import LAST_MOMENTS, LOCK_IS_HELD
from chat.snapshot import ChatSnapshot, read_snapshot

NO_MESSAGES = 2**62
"""A revision that no message has: the reading is of the chat's row and queue."""


def read_situation(chat_id: UUID) -> Situation:
    """Raises `ChatNotFound`."""
    with _one_moment():
        snapshot = read_snapshot(chat_id, after_revision=NO_MESSAGES)
        return _situation(snapshot, _surroundings(chat_id), read_fleet())


@contextmanager
def _one_moment() -> Iterator[None]:
    if connection.in_atomic_block:  # of the caller's making
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _surroundings(chat_id: UUID) -> dict[str, Any]:
    """What stands beside the chat's row; ages by the database's clock, in seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT statement_timestamp() AS now, worker.host, worker.pid,
                coalesce(worker.draining_since IS NOT NULL, false) AS draining,
                extract(epoch FROM statement_timestamp() - lease.heartbeat_at)::float AS heartbeat_age,
                extract(epoch FROM chat.requires_action_deadline_at - statement_timestamp())::float AS deadline_in,
                extract(epoch FROM statement_timestamp() - chat.compaction_requested_at)::float AS compaction_since,
                extract(epoch FROM statement_timestamp() - chat.waiting_since)::float AS waiting_since,
                chat.worker_id IS NOT NULL AND {LOCK_IS_HELD.format(worker_id="chat.worker_id")} AS holds_lock
                FROM chat_chat chat
                LEFT JOIN chat_runnerlease lease ON lease.chat_id = chat.id AND lease.runner_id = chat.runner_id
                LEFT JOIN chat_workerprocess worker ON worker.worker_id = chat.worker_id
                WHERE chat.id = %s""",
            [chat_id],
        )
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _situation(snapshot: ChatSnapshot, beside: Mapping[str, Any], fleet: Fleet) -> Situation:
    chat = snapshot.chat
    sub_agent = chat.root_id is not None
    limits = capacity.limits(sub_agents=sub_agent)
    return Situation(
        chat_id=str(chat.pk),
        title=chat.title,
        user=chat.owner.get_username(),
        model=chat.model,
        root_id=str(chat.root_id) if sub_agent else None,
        status=chat.status,
        archived=chat.archived,
        state=snapshot.state,
        queued=len(snapshot.queue),
        steering=sum(row["steering"] for row in snapshot.queue),
        owner=_owner(chat, beside, lease_is_fresh=snapshot.has_fresh_lease),
        attempt=chat.generation_attempt,
        max_attempts=settings.CHATD_MAX_GENERATION_RETRIES,
        retry=_retry(chat.retry_state, beside["now"]),
        calls=_calls(chat),
        deadline_in=beside["deadline_in"],
        last_error=chat.last_error,
        compaction_asked_since=beside["compaction_since"],
        waiting_since=beside["waiting_since"],
        place=capacity.places_in_line([chat]).get(chat.pk),
        limits=Limits(limits.total, limits.per_owner),
        workers=Workers(len(fleet.taking), len(fleet.draining), fleet.slots, fleet.taken),
        lease_lasts=settings.CHATD_LEASE_TTL,
        drain_lasts=settings.CHATD_DRAIN_TIMEOUT,
        commands=frozenset(get_commands()),
    )


def _owner(chat: Chat, beside: Mapping[str, Any], *, lease_is_fresh: bool) -> Owner | None:
    if chat.worker_id is None or chat.runner_id is None:
        return None
    age = beside["heartbeat_age"]
    return Owner(
        worker_id=str(chat.worker_id),
        runner_id=str(chat.runner_id),
        host=beside["host"],
        pid=beside["pid"],
        holds_lock=beside["holds_lock"],
        alive=beside["holds_lock"] or (age is not None and age < LAST_MOMENTS),
        draining=beside["draining"],
        heartbeat_age=age,
        lease_is_fresh=lease_is_fresh,
    )


def _retry(state: Mapping[str, Any] | None, now: datetime) -> Retry | None:
    """`retry_state` is for clients: whatever an older release has written, something can be said of it."""
    if not state:
        return None
    try:
        after = (datetime.fromisoformat(str(state["retrying_at"])) - now).total_seconds()
    except (KeyError, ValueError, TypeError):
        after = None
    return Retry(str(state.get("error") or state.get("kind") or "reason unknown"), after)


def _calls(chat: Chat) -> tuple[Call, ...]:
    tail = rows.stored_of_all([chat.pk])[chat.pk].tail
    by_client = {tool["name"] for tool in chat.client_tools}
    return tuple(
        Call(call["tool_call_id"], call["tool_name"], call["tool_name"] in by_client)
        for call in outstanding_calls(tail)
    )
