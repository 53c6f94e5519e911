"""A chat is deleted with everything that belongs to it, for good. Only an archived one: then nobody works on it.

Messages, queue and leases go by the database's own cascade (migration 0002); the family goes as one.
"""

from uuid import UUID

import structlog
from django.db import connection, transaction

from chat import hints, rows
from chat.errors import ChatNotFound, InvalidState, TransitionNotAllowed
from chat.execution import State, classify
from chat.models import Chat

logger = structlog.get_logger(__name__)

DELETABLE = frozenset({State.XW, State.XE0, State.XE1})


def delete_chat(chat_id: UUID) -> None:
    """Delete an archived chat and the sub-agents below it. Raises `ChatNotFound`, `TransitionNotAllowed`."""
    with transaction.atomic():
        found = rows.lock_chat(chat_id)
        if found is None:
            raise ChatNotFound()
        root, stored_of_root = found
        descendants = rows.lock_descendants(chat_id)
        family = [root, *descendants]
        stored = {root.pk: stored_of_root, **rows.stored_of_all([member.pk for member in descendants])}
        for member in family:
            state = classify(member.status, member.archived, len(stored[member.pk].queue))
            _require_deletable(member, state, goes_with=chat_id)
            _announce_on_commit(member, state)
        with connection.cursor() as cursor:  # one statement: who refers to whom in the family does not matter
            cursor.execute(f"DELETE FROM {rows.CHAT.name} WHERE id = ANY(%s)", [[member.pk for member in family]])


def _require_deletable(chat: Chat, state: State, *, goes_with: UUID) -> None:
    if chat.root_id not in (None, goes_with):
        raise TransitionNotAllowed("delete", state, f"A sub-agent goes with its family: use its root {chat.root_id}.")
    if state not in DELETABLE:
        refusal = InvalidState if state is State.INVALID else TransitionNotAllowed
        raise refusal("delete", state, f"Chat {chat.pk} is in state {state}: only an archived chat can be deleted.")


def _announce_on_commit(chat: Chat, state: State) -> None:
    """Streams look at once, and find nothing."""
    chat.snapshot_version += 1
    chat.history_version = chat.snapshot_version

    def announce() -> None:  # a named function: Django's robust on_commit cannot log a partial
        logger.info("chat.deleted", chat_id=str(chat.pk))
        hints.publish_update(chat, state)

    transaction.on_commit(announce, robust=True)
