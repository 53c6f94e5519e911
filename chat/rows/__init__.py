"""The door's SQL: few statements, plain, because every step of every chat goes through them.

    stored.py    the locked row, and what an update reads beside it
    chat.py      the row written, and its lease    history.py   messages
    queue.py     what is still to be said          family.py    a root and its descendants
    tables.py    columns, and rows as instances    sql.py       the cursor

Each function runs on Django's default connection and demands an open transaction where it writes.
"""

from chat.rows.chat import DatabaseTime, LeaseChange, insert_chat, lease_is_fresh, save_chat
from chat.rows.family import lock_descendants, lock_root_against_archiving, save_archived
from chat.rows.history import HistoryRow, delete_messages_from, history_of, insert_messages, message_of
from chat.rows.queue import delete_queued, insert_queued, update_queued
from chat.rows.stored import Stored, lock_chat, stored_of_all, tail_before
from chat.rows.tables import CHAT, TransactionRequired, require_transaction

__all__ = [
    "CHAT",
    "DatabaseTime",
    "HistoryRow",
    "LeaseChange",
    "Stored",
    "TransactionRequired",
    "delete_messages_from",
    "delete_queued",
    "history_of",
    "insert_chat",
    "insert_messages",
    "insert_queued",
    "lease_is_fresh",
    "lock_chat",
    "lock_descendants",
    "lock_root_against_archiving",
    "message_of",
    "require_transaction",
    "save_archived",
    "save_chat",
    "stored_of_all",
    "tail_before",
    "update_queued",
]
