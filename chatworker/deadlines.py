"""Clients that do not answer: calls whose deadline passed get an error, and their chats go on.

A chat that waits for its client holds no worker, so nobody else would notice. Safe to repeat and to overlap: what
changed between the reading and the lock is left alone.
"""

import structlog
from django.db import connection

from chat import content, transitions
from chat.errors import ChatNotFound, TransitionNotAllowed
from chat.update import chat_update

logger = structlog.get_logger(__name__)

BATCH = 500
"""Chats of one run; the next one is due a second later."""


class _Answered(Exception):
    """The client was quicker than we are, and may have been asked again since."""


def cancel_expired_actions(*, limit: int = BATCH) -> int:
    """Stop waiting where the deadline, by the database's clock, has passed; the number of chats that go on."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id, requires_action_deadline_at FROM chat_chat
               WHERE status = 'requires_action' AND requires_action_deadline_at <= now()
               ORDER BY requires_action_deadline_at LIMIT %s""",
            [limit],
        )
        expired = cursor.fetchall()
    canceled = 0
    for chat_id, deadline in expired:
        try:
            with chat_update(chat_id) as update:
                if update.chat.requires_action_deadline_at != deadline:
                    raise _Answered
                transitions.cancel_requires_action(update, content.TIMED_OUT)
            canceled += 1
        except (_Answered, ChatNotFound, TransitionNotAllowed):
            pass
    if canceled:
        logger.info("action.timed_out", chats=canceled)
    return canceled
