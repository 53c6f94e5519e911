"""Rows whose status, archived and queue together are no state that the machine knows."""

from collections.abc import Iterator
from itertools import product
from uuid import UUID

from django.db import connection

from chat.execution import State, Status, classify
from chat.rows.tables import CHAT, QUEUED

_VALID = ", ".join(
    f"('{status}', {archived}, {queued})"
    for status, archived, queued in product(Status, (False, True), (False, True))
    if classify(status, archived, queued) is not State.INVALID
)
_INVALID = f"""SELECT id FROM {CHAT.name} chat WHERE id > %(after)s AND (status, archived,
        EXISTS (SELECT FROM {QUEUED.name} queued WHERE queued.chat_id = chat.id)) NOT IN ({_VALID})
    ORDER BY id LIMIT %(limit)s"""


def invalid_chats(batch: int = 500) -> Iterator[UUID]:
    """Their ids, in order; looks at every chat, a batch of finds at a time."""
    after = UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_INVALID, {"after": after, "limit": batch})
            found = [row[0] for row in cursor.fetchall()]
        yield from found
        if len(found) < batch:
            return
        after = found[-1]
