"""What may happen to a chat: one function each, named as in the table, split by who acts.

    person.py     create, send, interrupt            runner.py      attempts, steps, the ends of a turn
    ownership.py  acquire, abandon

Each takes the draft of an open `chat_update` (only `create_chat` opens its own), is checked against the table before
and after, and says only what changes.
"""

from chat.transitions.ownership import abandon, acquire
from chat.transitions.person import create_chat, interrupt, send_message
from chat.transitions.runner import (
    NewMessage,
    commit_step,
    finish_error,
    finish_interruption,
    finish_turn,
    record_generation_attempt,
    record_retry_state,
)

__all__ = [
    "NewMessage",
    "abandon",
    "acquire",
    "commit_step",
    "create_chat",
    "finish_error",
    "finish_interruption",
    "finish_turn",
    "interrupt",
    "record_generation_attempt",
    "record_retry_state",
    "send_message",
]
