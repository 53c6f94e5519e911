"""What may happen to a chat: one function each, named as in the table, split by who acts.

    person.py     create, send, edit, interrupt, compact, clear     runner.py        attempts, steps, ends of a turn
    queue.py      change, delete, promote what waits                client.py        ends of the wait for a client
    ownership.py  acquire, abandon                                  housekeeping.py  archive, unarchive, put right

Each takes the draft of an open `chat_update` (only `create_chat` opens its own), is checked against the table before
and after, and says only what changes; what several of them do alike is in `effects.py`.
"""

from chat.draft import NewMessage
from chat.transitions.client import cancel_requires_action, complete_requires_action
from chat.transitions.housekeeping import reconcile_invalid_state, set_archived
from chat.transitions.ownership import abandon, acquire
from chat.transitions.person import (
    clear_context,
    create_chat,
    edit_message,
    interrupt,
    request_compaction,
    send_message,
)
from chat.transitions.queue import delete_queued_message, promote_queued_message, update_queued_message
from chat.transitions.runner import (
    absorb_steering,
    commit_step,
    enter_requires_action,
    finish_error,
    finish_interruption,
    finish_turn,
    record_generation_attempt,
    record_retry_state,
)

__all__ = [
    "NewMessage",
    "abandon",
    "absorb_steering",
    "acquire",
    "cancel_requires_action",
    "clear_context",
    "commit_step",
    "complete_requires_action",
    "create_chat",
    "delete_queued_message",
    "edit_message",
    "enter_requires_action",
    "finish_error",
    "finish_interruption",
    "finish_turn",
    "interrupt",
    "promote_queued_message",
    "reconcile_invalid_state",
    "record_generation_attempt",
    "record_retry_state",
    "request_compaction",
    "send_message",
    "set_archived",
    "update_queued_message",
]
