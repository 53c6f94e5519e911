"""Chat rows: lock one, make one, write what an update changed, with the lease that its owner gets or gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.expressions import Combinable

from chat.models import Chat
from chat.rows.tables import CHAT, LEASE, require_transaction


@dataclass(frozen=True)
class DatabaseTime(Combinable):
    """A time to be written into a column: the database's clock at that moment, and `after` later."""

    after: timedelta = timedelta()


def lock_chat(chat_id: UUID) -> Chat | None:
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {CHAT.columns} FROM {CHAT.name} WHERE id = %s FOR UPDATE", [chat_id])
        row = cursor.fetchone()
    return CHAT.instance(row) if row else None


def insert_chat(chat: Chat) -> None:
    require_transaction()
    names = [name for name in CHAT.names if name not in ("created_at", "updated_at", "waiting_since", "snapshot_xid")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {CHAT.name} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            " RETURNING created_at, updated_at",
            [CHAT.parameter(name, getattr(chat, name)) for name in names],
        )
        chat.created_at, chat.updated_at = cursor.fetchone()
    chat._state.adding, chat._state.db = False, "default"


LeaseChange = Literal["new", "gone"] | None
"""What an update does to the leases of its chat."""


def save_chat(chat: Chat, changed: Sequence[str], lease: LeaseChange = None) -> bool:
    """Write the changed columns of a locked chat, and its lease; True if the owner's lease is fresh then.

    The triggers reset the attempt with the history version, and the retry state with the attempt. An attempt of a
    history that begins in this very update, and a retry state of such an attempt, therefore follow in a statement of
    their own.
    """
    require_transaction()
    new_history = "history_version" in changed
    later = []
    if new_history and chat.generation_attempt:
        later.append("generation_attempt")
    if chat.retry_state is not None and (new_history or "generation_attempt" in changed):
        later.append("retry_state")
    lease_is_fresh = _update_chat(chat, [name for name in changed if name not in later], lease)
    for name in later:
        _update_chat(chat, [name])
    return lease_is_fresh


_LEASE_IS_FRESH = f"""runner_id IS NOT NULL AND EXISTS (SELECT FROM {LEASE} lease
    WHERE lease.chat_id = {CHAT.name}.id AND lease.runner_id = {CHAT.name}.runner_id
    AND lease.heartbeat_at > now() - %(ttl)s * interval '1 second')"""
_LEASES: dict[LeaseChange, tuple[str, str]] = {
    None: ("", _LEASE_IS_FRESH),
    # Nobody owns the chat: none of its leases stays, also none of an owner before the last.
    "gone": (f"WITH gone AS (DELETE FROM {LEASE} WHERE chat_id = %(id)s)", "false"),
    "new": (
        f"""WITH gone AS (DELETE FROM {LEASE} WHERE chat_id = %(id)s AND runner_id <> %(runner)s),
            taken AS (INSERT INTO {LEASE} (chat_id, worker_id, runner_id) VALUES (%(id)s, %(worker)s, %(runner)s)
                ON CONFLICT (chat_id, runner_id) DO UPDATE
                SET worker_id = excluded.worker_id, acquired_at = now(), heartbeat_at = now())""",
        "true",
    ),
}
"""What precedes the update of the chat in its statement, and how the statement tells whether the lease is fresh."""


def _update_chat(chat: Chat, names: Sequence[str], lease: LeaseChange = None) -> bool:
    timed = [name for name in names if isinstance(getattr(chat, name), DatabaseTime)]
    assignments = ", ".join(
        f"{name} = statement_timestamp() + %({name})s" if name in timed else f"{name} = %({name})s" for name in names
    )
    leases, fresh = _LEASES[lease]
    returned = ", ".join(["updated_at", "retry_state_version", *timed])
    parameters = {name: CHAT.parameter(name, getattr(chat, name)) for name in names}
    parameters |= {name: getattr(chat, name).after for name in timed}
    parameters |= {"id": chat.pk, "ttl": settings.CHATD_LEASE_TTL, "runner": chat.runner_id, "worker": chat.worker_id}
    with connection.cursor() as cursor:
        cursor.execute(
            f"{leases} UPDATE {CHAT.name} SET {assignments} WHERE id = %(id)s RETURNING {returned}, {fresh}",
            parameters,
        )
        chat.updated_at, chat.retry_state_version, *times, lease_is_fresh = cursor.fetchone()
    for name, time in zip(timed, times, strict=True):
        setattr(chat, name, time)
    return bool(lease_is_fresh)


def lease_is_fresh(chat_id: UUID, runner_id: UUID) -> bool:
    """Whether the runner's last heartbeat is younger than the lease's life, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT EXISTS (SELECT FROM {LEASE} WHERE chat_id = %s AND runner_id = %s
                AND heartbeat_at > now() - %s * interval '1 second')""",
            [chat_id, runner_id, settings.CHATD_LEASE_TTL],
        )
        return bool(cursor.fetchone()[0])
