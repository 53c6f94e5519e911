"""One consistent reading of a chat: its row, its messages, its queue, in a single statement.

A single statement sees a single moment, so there is no lock, no transaction and one round trip. `after_revision`
limits the messages to what a reader does not have yet; deleted ones are included then, so that it learns of them.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from chat import rows
from chat.errors import ChatNotFound
from chat.execution import State, classify
from chat.models import Chat


@dataclass(frozen=True, slots=True)
class ChatSnapshot:
    """`messages` and `queue` are plain rows (dicts by column), messages by (revision, id), the queue in its order."""

    chat: Chat
    messages: list[dict[str, Any]]
    queue: list[dict[str, Any]]
    has_fresh_lease: bool

    @property
    def state(self) -> State:
        return classify(self.chat.status, self.chat.archived, len(self.queue))


_MESSAGE = "id, role, parts, visibility, deleted, interrupted, revision, model, usage, created_at"
_QUEUED = "id, parts, position, steering, model, created_at"


def read_snapshot(chat_id: UUID, *, after_revision: int = -1, with_deleted: bool = False) -> ChatSnapshot:
    """The chat as it stands. Raises `ChatNotFound`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT {rows.CHAT.columns},
                (SELECT json_agg(m ORDER BY m.revision, m.id) FROM (SELECT {_MESSAGE} FROM chat_chatmessage
                    WHERE chat_id = %(id)s AND revision > %(after)s AND (%(deleted)s OR NOT deleted)) m),
                (SELECT json_agg(q ORDER BY q.position, q.id) FROM (SELECT {_QUEUED} FROM chat_queuedmessage
                    WHERE chat_id = %(id)s) q),
                EXISTS (SELECT FROM chat_runnerlease l WHERE l.chat_id = chat_chat.id
                    AND l.runner_id = chat_chat.runner_id AND l.heartbeat_at > now() - %(ttl)s * interval '1 second')
                FROM chat_chat WHERE id = %(id)s""",
            {"id": chat_id, "after": after_revision, "deleted": with_deleted, "ttl": settings.CHATD_LEASE_TTL},
        )
        row = cursor.fetchone()
    if row is None:
        raise ChatNotFound()
    *chat, messages, queue, fresh = row
    return ChatSnapshot(
        chat=rows.CHAT.instance(chat),
        messages=messages or [],
        queue=queue or [],
        has_fresh_lease=fresh,
    )
