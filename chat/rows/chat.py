"""Chat rows: make one, write what an update changed, with the lease that its owner gets or gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from django.conf import settings
from django.db.models.expressions import Combinable

from chat.models import Chat, ChatMessage
from chat.rows import sql
from chat.rows.history import MADE_BY_POSTGRES, NEW_MESSAGE
from chat.rows.tables import CHAT, LEASE, MESSAGE, require_transaction


@dataclass(frozen=True)
class DatabaseTime(Combinable):
    """A time to be written into a column: the database's clock at that moment, and `after` later."""

    after: timedelta = timedelta()


def insert_chat(chat: Chat) -> None:
    require_transaction()
    names = [name for name in CHAT.names if name not in ("created_at", "updated_at", "waiting_since", "snapshot_xid")]
    with sql.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {CHAT.name} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            " RETURNING created_at, updated_at",
            [CHAT.parameter(name, getattr(chat, name)) for name in names],
        )
        chat.created_at, chat.updated_at = cursor.fetchone()
    chat._state.adding, chat._state.db = False, "default"


LeaseChange = Literal["new", "gone"] | None
"""What an update does to the leases of its chat."""


def save_chat(
    chat: Chat, changed: Sequence[str], lease: LeaseChange = None, message: ChatMessage | None = None
) -> bool:
    """Write the changed columns of a locked chat, its lease and a new message; True if the owner's lease is fresh then.

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
    lease_is_fresh = _update_chat(chat, [name for name in changed if name not in later], lease, message)
    for name in later:
        _update_chat(chat, [name])
    return lease_is_fresh


_LEASE_IS_FRESH = f"""runner_id IS NOT NULL AND EXISTS (SELECT FROM {LEASE} lease
    WHERE lease.chat_id = {CHAT.name}.id AND lease.runner_id = {CHAT.name}.runner_id
    AND lease.heartbeat_at > now() - %(ttl)s * interval '1 second')"""
_LEASES: dict[LeaseChange, tuple[str, str]] = {
    None: ("", _LEASE_IS_FRESH),
    # Nobody owns the chat: none of its leases stays, also none of an owner before the last.
    "gone": (f"gone AS (DELETE FROM {LEASE} WHERE chat_id = %(id)s),", "false"),
    "new": (
        f"""gone AS (DELETE FROM {LEASE} WHERE chat_id = %(id)s AND runner_id <> %(runner)s),
            taken AS (INSERT INTO {LEASE} (chat_id, worker_id, runner_id) VALUES (%(id)s, %(worker)s, %(runner)s)
                ON CONFLICT (chat_id, runner_id) DO UPDATE
                SET worker_id = excluded.worker_id, acquired_at = now(), heartbeat_at = now()),""",
        "true",
    ),
}
"""What precedes the update of the chat in its statement, and how the statement tells whether the lease is fresh."""

_VALUES = ", ".join(f"%(message_{name})s" for name in NEW_MESSAGE)
_ADDED = f""", added AS (INSERT INTO {MESSAGE.name} ({", ".join(NEW_MESSAGE)}) SELECT {_VALUES} FROM written
    RETURNING {", ".join(MADE_BY_POSTGRES)})"""
"""It reads the update, so it comes after it: nobody may add a message to a chat that was not moved on."""


def _update_chat(
    chat: Chat, names: Sequence[str], lease: LeaseChange = None, message: ChatMessage | None = None
) -> bool:
    timed = [name for name in names if isinstance(getattr(chat, name), DatabaseTime)]
    assignments = ", ".join(
        f"{name} = statement_timestamp() + %({name})s" if name in timed else f"{name} = %({name})s" for name in names
    )
    leases, fresh = _LEASES[lease]
    returned = ", ".join(["updated_at", "retry_state_version", *timed, f"{fresh} AS lease_is_fresh"])
    written = f"written AS (UPDATE {CHAT.name} SET {assignments} WHERE id = %(id)s RETURNING {returned})"
    parameters = {name: CHAT.parameter(name, getattr(chat, name)) for name in names}
    parameters |= {name: getattr(chat, name).after for name in timed}
    parameters |= {"id": chat.pk, "ttl": settings.CHATD_LEASE_TTL, "runner": chat.runner_id, "worker": chat.worker_id}
    added, both = "", "written"
    if message is not None:
        added, both = _ADDED, "written, added"
        parameters |= {f"message_{name}": MESSAGE.parameter(name, getattr(message, name)) for name in NEW_MESSAGE}
    with sql.cursor() as cursor:
        cursor.execute(f"WITH {leases} {written}{added} SELECT * FROM {both}", parameters)
        values = iter(cursor.fetchone())
    chat.updated_at, chat.retry_state_version = next(values), next(values)
    for name in timed:
        setattr(chat, name, next(values))
    lease_is_fresh = bool(next(values))
    if message is not None:
        MESSAGE.inserted(message, MADE_BY_POSTGRES, values)
    return lease_is_fresh


def lease_is_fresh(chat_id: UUID, runner_id: UUID) -> bool:
    """Whether the runner's last heartbeat is younger than the lease's life, by the database's clock."""
    with sql.cursor() as cursor:
        cursor.execute(
            f"""SELECT EXISTS (SELECT FROM {LEASE} WHERE chat_id = %s AND runner_id = %s
                AND heartbeat_at > now() - %s * interval '1 second')""",
            [chat_id, runner_id, settings.CHATD_LEASE_TTL],
        )
        return bool(cursor.fetchone()[0])
