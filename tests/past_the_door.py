"""Plain SQL against the tables of chats, past `chat_update`: chats that are committed, and statements that try.

The chats are committed before a test begins, because within the transaction that created it a chat is open for
writing; each test then works in a transaction that is rolled back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from chat.execution import State
from chat.models import Chat
from tests.factories import ANSWERED, RUNNER, SAID, chat_in, family_of, photograph


@dataclass(frozen=True)
class Committed:
    """Chats at snapshot 7: two that run, with two messages, two queued messages and a lease each; two families."""

    chat: UUID
    other: UUID
    root: UUID
    child: UUID
    grandchild: UUID
    archived: UUID
    archived_child: UUID
    owner: int
    guest: int
    """A user who wrote all that `other` holds, and owns nothing."""


def committed_chats(blocker: Any) -> Iterator[Committed]:
    """The body of a fixture for a module: `blocker` is pytest-django's."""
    with blocker.unblock():
        owner, guest = [get_user_model().objects.create(username=name) for name in ("owner", "guest")]
        alone = [chat_in(State.R1, writer, queued=2, history=(SAID, ANSWERED)) for writer in (owner, guest)]
        Chat.objects.filter(owner=guest).update(owner=owner)
        families = [*family_of(owner, State.W, State.W, State.W), *family_of(owner, State.XW, State.XW)]
        yield Committed(*alone, *families, owner.pk, guest.pk)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM chat_chat WHERE id = ANY(%s)", [[*alone, *families]])
        owner.delete()
        guest.delete()
        connection.close()


# --- statements -------------------------------------------------------------------------------------------------

OPEN = "UPDATE chat_chat SET snapshot_version = snapshot_version + 1 WHERE id = %(chat)s"
OPEN_OTHER = "UPDATE chat_chat SET snapshot_version = snapshot_version + 1 WHERE id = %(other)s"
OF_CHAT = "WHERE chat_id = %(chat)s"
DOOR = "chat_written_through_the_door"

MESSAGE_COLUMNS = "chat_id, role, parts, content_version, visibility, compressed, deleted, interrupted, revision, model"
MESSAGE_VALUES = "%(chat)s, 'user', '[1]', 1, 'both', false, false, false, 0, ''"
SAY = f"INSERT INTO chat_chatmessage ({MESSAGE_COLUMNS}) VALUES ({MESSAGE_VALUES})"
SAY_OFTEN = f"INSERT INTO chat_chatmessage ({MESSAGE_COLUMNS}) SELECT {MESSAGE_VALUES} FROM generate_series(1, 50)"
COPY_MESSAGES = f"COPY chat_chatmessage ({MESSAGE_COLUMNS}) FROM STDIN"
MESSAGE_LINE = "{chat}\tuser\t[1]\t1\tboth\tf\tf\tf\t0\t\n"
QUEUE_COLUMNS = "chat_id, parts, position, model"
QUEUE = f"INSERT INTO chat_queuedmessage ({QUEUE_COLUMNS}) VALUES (%(chat)s, '[1]', 9, '')"
QUEUE_OFTEN = (
    f"INSERT INTO chat_queuedmessage ({QUEUE_COLUMNS}) SELECT %(chat)s, '[1]', n, '' FROM generate_series(1, 9) n"
)
COPY_QUEUE = f"COPY chat_queuedmessage ({QUEUE_COLUMNS}) FROM STDIN"
QUEUED_LINE = "{chat}\t[1]\t9\t\n"
LEASE = "INSERT INTO chat_runnerlease (chat_id, runner_id, worker_id) VALUES (%(chat)s, %(runner)s, %(runner)s)"


def new_chat(below: str | None = None, root: str | None = None, **columns: str) -> str:
    """A copy of a chat with other values (SQL) in some columns; `below`, `root`: names in `Committed`."""
    family = {name: f"%({chat})s::uuid" if chat else "NULL" for name, chat in (("parent_id", below), ("root_id", root))}
    values = {"id": "gen_random_uuid()", "retry_state": "NULL", "retry_state_version": "0", **family, **columns}
    changed = ", ".join(f"'{name}', {value}" for name, value in values.items())
    return f"""INSERT INTO chat_chat SELECT made.* FROM chat_chat known,
        LATERAL jsonb_populate_record(known, jsonb_build_object({changed})) made WHERE known.id = %(chat)s"""


# --- trying -----------------------------------------------------------------------------------------------------


def run(sql: str, committed: Committed) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, {**asdict(committed), "runner": RUNNER})
        return cursor.rowcount


def value_of(sql: str, committed: Committed) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, {**asdict(committed), "runner": RUNNER})
        return cursor.fetchone()[0]


def copy_in(sql: str, lines: Sequence[str]) -> None:
    connection.ensure_connection()
    with connection.connection.cursor() as cursor, cursor.copy(sql) as copy:
        for line in lines:
            copy.write(line)


def constraint_of(error: BaseException | None) -> str | None:
    assert isinstance(error, psycopg.errors.IntegrityError), error
    return error.diag.constraint_name


def refused_for(constraint: str, committed: Committed, *statements: str, in_savepoint: bool = True) -> str:
    """The last of the statements is refused by `constraint`; nothing has changed once all are undone.

    Returns where it was raised: the name of a trigger, or "".
    """
    before = photograph()
    *first, last = statements
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        for sql in first:
            run(sql, committed)
        if in_savepoint:
            with transaction.atomic():
                run(last, committed)
        else:
            run(last, committed)
    error = refusal.value.__cause__
    assert constraint_of(error) == constraint
    assert photograph() == before
    return str(error.diag.context or "")
