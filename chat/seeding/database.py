"""Made-up chats into Postgres: COPY in one transaction, past triggers and foreign keys, which would agree anyway.

Where more is added than is there, the indexes go first and are made again at the end: that is several times quicker,
and the tables are locked meanwhile. A role that may not switch triggers off has only those of chats ignored.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import ProgrammingError, connection, transaction

from chat.models import Chat, ChatMessage, QueuedMessage, triggers
from chat.seeding import lines
from chat.seeding.lives import Life, lives
from chat.seeding.wish import Wish

BLOCK = 100_000
"""Messages that go in at a time, with their chats; they are in memory meanwhile. A longer chat goes in alone."""
WORTH_REBUILDING = 100_000
"""Messages from which on the indexes are made anew."""
_TRIGGERS: list[tuple[Any, Any]] = [
    (Chat, triggers.chat_versions),
    (Chat, triggers.chat_family),
    (Chat, triggers.touch_updated_at),
    (ChatMessage, triggers.message_versions),
    (QueuedMessage, triggers.queue_versions),
]
Progress = Callable[[int], None]
"""Told how many more chats are done."""


def owners_of(wish: Wish, count: int) -> list[Any]:
    """The primary keys of so many made-up users, "seed-SEED-1" …, who cannot log in; those that are there are used."""
    users = get_user_model()
    names = [f"seed-{wish.seed}-{number}" for number in range(1, count + 1)]
    email = users.get_email_field_name()
    users._default_manager.bulk_create(
        [
            users(**{users.USERNAME_FIELD: name, email: f"{name}@example.org"}, password=make_password(None))
            for name in names
        ],
        ignore_conflicts=True,
        batch_size=1000,
    )
    found = dict(
        users._default_manager.filter(**{f"{users.USERNAME_FIELD}__in": names}).values_list(users.USERNAME_FIELD, "pk")
    )
    return [found[name] for name in names]


def seed(wish: Wish, owners: Sequence[Any], progress: Progress = lambda number: None) -> None:
    """All chats of the wish, or none. Raises `IntegrityError` where that seed has been made here before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s'")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # while Python makes the next block
        with _without_indexes(cursor, wish), _without_triggers(cursor):
            writer = lines.Writer(wish, owners)
            for block in _blocks(lives(wish, len(owners))):
                _copy(cursor, writer, block)
                progress(len(block))


def settle() -> None:
    """What a database of some age has: statistics and a visibility map."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        tables = ", ".join(model._meta.db_table for model in (Chat, ChatMessage, QueuedMessage))
        try:
            cursor.execute(f"VACUUM (ANALYZE, PARALLEL 0) {tables}")
        finally:
            cursor.execute("RESET statement_timeout")


def _blocks(made: Iterable[Life]) -> Iterator[list[Life]]:
    block: list[Life] = []
    messages = 0
    for life in made:
        if block and messages + life.messages > BLOCK:
            yield block
            block, messages = [], 0
        block.append(life)
        messages += life.messages
    if block:
        yield block


def _copy(cursor: Any, writer: lines.Writer, block: list[Life]) -> None:
    chats, messages, queued = zip(*map(writer.lines, block), strict=True)
    for model, columns, texts in (
        (Chat, lines.CHAT, chats),
        (ChatMessage, lines.MESSAGE, messages),
        (QueuedMessage, lines.QUEUED, queued),
    ):
        into = f"COPY {model._meta.db_table} ({', '.join(columns)}) FROM STDIN"
        with connection.wrap_database_errors, cursor.copy(into) as copy:
            for text in texts:
                copy.write(text)


@contextmanager
def _without_triggers(cursor: Any) -> Iterator[None]:
    awake = "SET LOCAL session_replication_role = DEFAULT"
    try:
        with transaction.atomic():  # a refusal costs this savepoint only
            cursor.execute("SET LOCAL session_replication_role = replica")
    except ProgrammingError:
        awake = "SET LOCAL pgtrigger.ignore = '{}'"
        names = ",".join(trigger.get_pgid(model) for model, trigger in _TRIGGERS)
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [f"{{{names}}}"])
    yield
    cursor.execute(awake)


@contextmanager
def _without_indexes(cursor: Any, wish: Wish) -> Iterator[None]:
    """Those that no constraint needs are gone meanwhile, where that pays."""
    tables = [Chat._meta.db_table, ChatMessage._meta.db_table]
    cursor.execute("SELECT coalesce(max(id), 0) FROM chat_chatmessage")
    if wish.messages < max(WORTH_REBUILDING, cursor.fetchone()[0]):
        yield
        return
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ANY(%s)"
        " AND indexdef LIKE 'CREATE INDEX %%'",
        [tables],
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    yield
    # In one process: several would meet in /dev/shm, which containers keep small.
    cursor.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL max_parallel_maintenance_workers = 0")
    for _, definition in indexes:
        cursor.execute(definition)
