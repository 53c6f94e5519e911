"""What the database refuses, whoever writes: every constraint and every rule of a trigger has a case here.

The tests at the end ask Postgres which there are, so that none can be added without one.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import JSONField, Value
from psycopg.types.json import Jsonb

from chat.models import Chat, ChatMessage, QueuedMessage
from tests.factories import photograph
from tests.past_the_door import (
    COPY_MESSAGES,
    COPY_QUEUE,
    DOOR,
    LEASE,
    MESSAGE_LINE,
    OF_CHAT,
    OPEN,
    OPEN_OTHER,
    QUEUE,
    QUEUED_LINE,
    SAY,
    Committed,
    committed_chats,
    constraint_of,
    copy_in,
    new_chat,
    refused_for,
    run,
    value_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[Committed]:
    yield from committed_chats(django_db_blocker)


OF_IT = "WHERE id = %(chat)s"
ITSELF = "'00000000-0000-0000-0000-0000000000aa'"
NOTHING = dict.fromkeys(("snapshot_version", "history_version", "queue_version"), "0")
SAY_AGAIN = (
    SAY.replace("(chat_id", "(id, chat_id").replace("VALUES (", "SELECT min(id), ")[:-1] + " FROM chat_chatmessage"
)
TABLES = ["chat_chat", "chat_chatmessage", "chat_queuedmessage", "chat_runnerlease"]
STAYS, RETRY = "message_stays_in_its_chat", "chat_retry_state_version_follows"
ROOT, FAMILY = "sub_agent_has_the_root_of_its_parent", "chat_stays_in_its_family"
NO_PARTS = ["[]", "{}", "null", "7", '"text"', '{"0": {"type": "text"}}']

BELOW = {
    "insert": new_chat("archived", "archived"),
    "insert below its child": new_chat("archived_child", "archived"),
    "insert unless it is there": new_chat("archived", "archived") + " ON CONFLICT DO NOTHING",
    "insert as archived": new_chat("archived", "archived", archived="true", status="'waiting'"),
    "insert in a subquery": f"WITH new AS ({new_chat('archived', 'archived')} RETURNING id) SELECT * FROM new",
}

CONSTRAINTS: list[tuple[str, str]] = [
    ("chat_versions_do_not_pass_the_snapshot", f"UPDATE chat_chat SET history_version = 9 {OF_IT}"),
    ("chat_versions_do_not_pass_the_snapshot", f"UPDATE chat_chat SET queue_version = 9 {OF_IT}"),
    ("chat_versions_do_not_pass_the_snapshot", new_chat(history_version="9")),
    ("chat_versions_do_not_pass_the_snapshot", new_chat(snapshot_version="0")),
    ("chat_versions_do_not_pass_the_snapshot", new_chat(**NOTHING)),
    ("chat_generation_attempt_is_not_negative", f"UPDATE chat_chat SET generation_attempt = -1 {OF_IT}"),
    ("chat_is_owned_by_worker_and_runner_or_by_nobody", f"UPDATE chat_chat SET worker_id = NULL {OF_IT}"),
    ("chat_is_owned_by_worker_and_runner_or_by_nobody", f"UPDATE chat_chat SET runner_id = NULL {OF_IT}"),
    ("chat_is_owned_by_worker_and_runner_or_by_nobody", new_chat(worker_id="NULL")),
    ("sub_agent_has_a_parent_and_a_root", new_chat(root="root")),
    ("sub_agent_has_a_parent_and_a_root", new_chat(parent_id="gen_random_uuid()")),
    ("chat_is_not_its_own_ancestor", new_chat(id=ITSELF, parent_id=ITSELF)),
    ("chat_is_not_its_own_ancestor", new_chat(id=ITSELF, root_id=ITSELF)),
    ("chat_chat.owner_id", f"UPDATE chat_chat SET owner_id = -1 {OF_IT}"),
    ("chat_chat.owner_id", "DELETE FROM auth_user WHERE id = %(owner)s"),
    ("chat_chat.parent_id", "DELETE FROM chat_chat WHERE id = %(root)s"),
    ("chat_chat.parent_id", "DELETE FROM chat_chat WHERE id = %(child)s"),
    ("chat_chat.root_id", "DELETE FROM chat_chat WHERE id = %(root)s"),
    ("chat_chat_pkey", new_chat(id="%(other)s")),
    ("message_has_a_known_role", f"UPDATE chat_chatmessage SET role = 'robot' {OF_CHAT}"),
    ("message_has_a_known_role", SAY.replace("'user'", "''")),
    ("message_has_a_known_visibility", f"UPDATE chat_chatmessage SET visibility = 'none' {OF_CHAT}"),
    *(("message_has_parts", SAY.replace("'[1]'", f"'{parts}'")) for parts in NO_PARTS),
    *(("message_has_parts", f"UPDATE chat_chatmessage SET parts = '{parts}' {OF_CHAT}") for parts in NO_PARTS),
    ("chat_chatmessage.created_by_id", f"UPDATE chat_chatmessage SET created_by_id = -1 {OF_CHAT}"),
    ("chat_chatmessage.created_by_id", "DELETE FROM auth_user WHERE id = %(guest)s"),
    ("chat_chatmessage_pkey", SAY_AGAIN),
    *(("queued_message_has_parts", QUEUE.replace("'[1]'", f"'{parts}'")) for parts in NO_PARTS),
    *(("queued_message_has_parts", f"UPDATE chat_queuedmessage SET parts = '{parts}' {OF_CHAT}") for parts in NO_PARTS),
    ("chat_queuedmessage.chat_id", QUEUE.replace("%(chat)s", "gen_random_uuid()")),
    ("chat_queuedmessage.created_by_id", f"UPDATE chat_queuedmessage SET created_by_id = -1 {OF_CHAT}"),
    ("chat_queuedmessage.created_by_id", "DELETE FROM auth_user WHERE id = %(guest)s"),
    ("chat_queuedmessage_pkey", f"UPDATE chat_queuedmessage SET id = 1 {OF_CHAT}"),
    ("chat_runnerlease.chat_id", LEASE.replace("%(chat)s", "gen_random_uuid()")),
    ("runner_has_one_lease_of_a_chat", LEASE),
    ("runner_has_one_lease_of_a_chat", "UPDATE chat_runnerlease SET chat_id = %(other)s"),
    ("chat_runnerlease_pkey", "UPDATE chat_runnerlease SET id = 1"),
]
"""(name, statement that it refuses, also through the door); a foreign key goes by its table and column."""


def named(constraint: str) -> str:
    [name] = [name for name, key in constraints() if key == constraint]
    return name


def constraints() -> list[tuple[str, str]]:
    """Every constraint of the tables but NOT NULL, with the key that it has here."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conname, CASE contype WHEN 'f' THEN conrelid::regclass || '.' || attname ELSE conname END
            FROM pg_constraint LEFT JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
            WHERE conrelid = ANY(%s::regclass[]) AND contype <> 'n'""",
            [TABLES],
        )
        return cursor.fetchall()


@pytest.mark.parametrize(("constraint", "sql"), CONSTRAINTS, ids=[name for name, _ in CONSTRAINTS])
@pytest.mark.parametrize("in_savepoint", [False, True], ids=["plain", "in a savepoint"])
def test_a_constraint_refuses_also_through_the_door(
    constraint: str, sql: str, in_savepoint: bool, committed: Committed
) -> None:
    name = named(constraint)
    at_once = [f'SET CONSTRAINTS "{name}" IMMEDIATE'] if "_fk_" in name else []
    refused_for(name, committed, OPEN, *at_once, sql, in_savepoint=in_savepoint)


@pytest.mark.parametrize("parts", NO_PARTS)
@pytest.mark.parametrize(("sql", "line"), [(COPY_MESSAGES, MESSAGE_LINE), (COPY_QUEUE, QUEUED_LINE)])
def test_one_line_without_parts_refuses_the_whole_copy(sql: str, line: str, parts: str, committed: Committed) -> None:
    before = photograph()
    good = line.format(chat=committed.chat)
    with pytest.raises(psycopg.errors.CheckViolation) as refusal, transaction.atomic():
        run(OPEN, committed)
        copy_in(sql, [good, good, good.replace("[1]", parts), good])
    assert constraint_of(refusal.value) in ("message_has_parts", "queued_message_has_parts")
    assert photograph() == before


@pytest.mark.parametrize("parts", [[], {}, None, "text"])
def test_one_row_without_parts_refuses_the_whole_bulk_insert(parts: Any, committed: Committed) -> None:
    before = photograph()
    for model, others in ((ChatMessage, {"role": "user"}), (QueuedMessage, {"position": 9})):
        rows = [model(chat_id=committed.chat, parts=value, **others) for value in ([1], [1], Value(parts, JSONField()))]
        with pytest.raises(IntegrityError) as refusal, transaction.atomic():
            run(OPEN, committed)
            model.objects.bulk_create(rows)
        assert constraint_of(refusal.value.__cause__) in ("message_has_parts", "queued_message_has_parts")
    assert photograph() == before


def test_a_message_of_no_chat_is_refused(committed: Committed) -> None:
    before = photograph()
    with pytest.raises(IntegrityError), transaction.atomic():
        run(SAY.replace("%(chat)s", "gen_random_uuid()"), committed)
    assert photograph() == before


def test_no_column_that_must_say_something_is_ever_null(committed: Committed) -> None:
    """Refused, or put right by a trigger."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT table_name, column_name FROM information_schema.columns
            WHERE table_name = ANY(%s) AND table_schema = 'public' AND is_nullable = 'NO'""",
            [TABLES],
        )
        columns = cursor.fetchall()
    assert len(columns) > 40
    for table, column in columns:
        try:
            with transaction.atomic():
                run(OPEN, committed)
                run(f"UPDATE {table} SET {column} = NULL", committed)
                left = value_of(f"SELECT count(*) FROM {table} WHERE {column} IS NULL", committed)
                transaction.set_rollback(True)
        except IntegrityError as error:
            assert isinstance(error.__cause__, psycopg.errors.NotNullViolation | psycopg.errors.CheckViolation)
        else:
            assert left == 0, (table, column)


# --- the rules of triggers --------------------------------------------------------------------------------------


def move(change: str) -> str:
    return f"UPDATE chat_chat SET {change} WHERE id = %(child)s"


RULES: list[tuple[str, str, tuple[str, ...]]] = [
    ("message_versions", DOOR, (SAY,)),
    ("message_versions", DOOR, (f"UPDATE chat_chatmessage SET deleted = true {OF_CHAT}",)),
    ("message_delete_guard", DOOR, (f"DELETE FROM chat_chatmessage {OF_CHAT}",)),
    ("queue_versions", DOOR, (QUEUE,)),
    ("queue_versions", DOOR, (f"UPDATE chat_queuedmessage SET steering = NOT steering {OF_CHAT}",)),
    ("queue_delete_versions", DOOR, (f"DELETE FROM chat_queuedmessage {OF_CHAT}",)),
    *(
        (trigger, STAYS, (OPEN, OPEN_OTHER, f"UPDATE {table} SET chat_id = %(other)s {OF_CHAT}"))
        for trigger, table in (("message_versions", "chat_chatmessage"), ("queue_versions", "chat_queuedmessage"))
    ),
    ("message_versions", STAYS, (OPEN, f"UPDATE chat_chatmessage SET id = id + 1000 {OF_CHAT}")),
    ("message_versions", "message_revision_follows", (OPEN, SAY.replace("false, 0, ''", "false, 8, ''"))),
    ("message_versions", "message_revision_follows", (OPEN, f"UPDATE chat_chatmessage SET revision = 8 {OF_CHAT}")),
    (
        "message_versions",
        "message_revision_follows",
        (OPEN, f"UPDATE chat_chatmessage SET revision = 1, parts = '[1]' {OF_CHAT}"),
    ),
    ("chat_versions", RETRY, (OPEN, f"UPDATE chat_chat SET retry_state_version = 8 {OF_IT}")),
    ("chat_versions", RETRY, (OPEN, f"UPDATE chat_chat SET retry_state_version = 7, retry_state = '[]' {OF_IT}")),
    ("chat_versions", RETRY, (new_chat(retry_state_version="7"),)),
    ("chat_versions", RETRY, (new_chat(retry_state_version="1", retry_state="'[]'::jsonb"),)),
    ("chat_versions", "chat_versions_never_go_down", (OPEN, f"UPDATE chat_chat SET snapshot_version = 7 {OF_IT}")),
    ("chat_versions", "chat_versions_never_go_down", (OPEN, f"UPDATE chat_chat SET history_version = 2 {OF_IT}")),
    ("chat_versions", "chat_versions_never_go_down", (OPEN, f"UPDATE chat_chat SET queue_version = 4 {OF_IT}")),
    ("chat_family", ROOT, (new_chat("root", None),)),
    ("chat_family", ROOT, (new_chat("root", "child"),)),
    ("chat_family", ROOT, (new_chat("root", "other"),)),
    ("chat_family", ROOT, (new_chat("child", "child"),)),
    ("chat_family", ROOT, (new_chat("archived", "root"),)),
    ("chat_family", ROOT, (new_chat(id=ITSELF, parent_id=ITSELF, root_id=ITSELF),)),
    ("chat_family", ROOT, (new_chat(None, "root", parent_id="gen_random_uuid()"),)),
    ("chat_family", FAMILY, (move("parent_id = %(grandchild)s"),)),
    ("chat_family", FAMILY, (move("parent_id = %(child)s"),)),
    ("chat_family", FAMILY, (move("root_id = %(other)s"),)),
    ("chat_family", FAMILY, (move("parent_id = %(archived)s, root_id = %(archived)s"),)),
    ("chat_family", FAMILY, (move("parent_id = NULL, root_id = NULL"),)),
    ("chat_family", FAMILY, (f"UPDATE chat_chat SET parent_id = %(root)s, root_id = %(root)s {OF_IT}",)),
    *(("chat_family", "archived_family_takes_no_chat", (sql,)) for sql in BELOW.values()),
]
"""(trigger, what it says, statements of which it refuses the last)"""


@pytest.mark.parametrize(("trigger", "rule", "statements"), RULES, ids=[rule for _, rule, _ in RULES])
@pytest.mark.parametrize("in_savepoint", [False, True], ids=["plain", "in a savepoint"])
def test_a_trigger_refuses(
    trigger: str, rule: str, statements: tuple[str, ...], in_savepoint: bool, committed: Committed
) -> None:
    raised_in = refused_for(rule, committed, *statements, in_savepoint=in_savepoint)
    assert f"function pgtrigger_{trigger}_" in raised_in


@pytest.mark.parametrize("table", ["chat_chatmessage", "chat_queuedmessage"])
@pytest.mark.parametrize(("door", "rule"), [(OPEN, DOOR), (OPEN_OTHER, STAYS)], ids=["its own", "the other"])
def test_one_open_door_is_not_enough_to_move_a_message(table: str, door: str, rule: str, committed: Committed) -> None:
    refused_for(rule, committed, door, f"UPDATE {table} SET chat_id = %(other)s {OF_CHAT}")


# --- families ---------------------------------------------------------------------------------------------------

COLUMNS = [field.column for field in Chat._meta.concrete_fields if not field.has_db_default()]


def test_a_chat_opened_in_the_same_transaction_does_not_open_its_family(committed: Committed) -> None:
    bump = "UPDATE chat_chat SET snapshot_version = snapshot_version + 1 WHERE id = %(archived)s"
    refused_for("archived_family_takes_no_chat", committed, bump, BELOW["insert"])


def test_a_rolled_back_unarchiving_leaves_the_family_closed(committed: Committed) -> None:
    back = "UPDATE chat_chat SET archived = false WHERE id = %(archived)s"
    statements = ("SAVEPOINT opened", back, "ROLLBACK TO opened", BELOW["insert"])
    refused_for("archived_family_takes_no_chat", committed, *statements)


def below(parent: Any, root: Any, owner_id: int, number: int = 1) -> list[Chat]:
    return [
        Chat(owner_id=owner_id, parent_id=parent, root_id=root, model="demo:demo", status="running")
        for _ in range(number)
    ]


def test_neither_copy_nor_a_bulk_insert_puts_a_chat_below_an_archived_root(committed: Committed) -> None:
    before = photograph()
    good, bad = (committed.root, committed.root), (committed.archived, committed.archived)
    several = [*below(*good, committed.owner, 5), *below(*bad, committed.owner), *below(*good, committed.owner)]
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        Chat.objects.bulk_create(several)
    assert constraint_of(refusal.value.__cause__) == "archived_family_takes_no_chat"
    with pytest.raises(psycopg.errors.CheckViolation) as refused, transaction.atomic():
        copy_chats(several)
    assert constraint_of(refused.value) == "archived_family_takes_no_chat"
    assert photograph() == before

    copy_chats(below(*good, committed.owner, 5))
    assert Chat.objects.filter(root_id=committed.root).count() == 2 + 5


def copy_chats(chats: list[Chat]) -> None:
    connection.ensure_connection()
    sql = f"COPY chat_chat ({', '.join(COLUMNS)}) FROM STDIN"
    with connection.connection.cursor() as cursor, cursor.copy(sql) as copy:
        for chat in chats:
            values = [getattr(chat, field.attname) for field in Chat._meta.concrete_fields if field.column in COLUMNS]
            copy.write_row([Jsonb(value) if isinstance(value, list | dict) else value for value in values])


def test_a_chat_made_below_another_has_the_root_of_that(committed: Committed) -> None:
    for parent in ("root", "child", "grandchild"):
        run(new_chat(parent, "root"), committed)
    assert Chat.objects.filter(root_id=committed.root).count() == 2 + 3


@pytest.mark.parametrize("change", ["title = 'another'", "parent_id = parent_id, root_id = root_id"])
def test_a_member_of_an_archived_family_may_change_as_long_as_it_stays(change: str, committed: Committed) -> None:
    assert run(f"UPDATE chat_chat SET {change} WHERE id = %(archived_child)s", committed) == 1


# --- none without a case ----------------------------------------------------------------------------------------


def test_every_constraint_has_a_case() -> None:
    gone = {f"{table}.chat_id" for table in TABLES[1:]}  # `test_triggers.py` sees them go with their chat
    assert {key for _, key in constraints()} == {name for name, _ in CONSTRAINTS} | gone


def triggers() -> dict[tuple[str, str], str]:
    """(table, short name) → source of every trigger."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT tgrelid::regclass::text, tgname, prosrc FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid
            WHERE tgrelid = ANY(%s::regclass[]) AND NOT tgisinternal""",
            [TABLES],
        )
        return {(table, re.sub(r"^pgtrigger_|_[0-9a-f]{5}$", "", name)): src for table, name, src in cursor.fetchall()}


def test_every_rule_of_a_trigger_has_a_case() -> None:
    rules = {(name, rule) for (_, name), src in triggers().items() for rule in re.findall(r"CONSTRAINT = '(\w+)'", src)}
    assert rules == {(trigger, rule) for trigger, rule, _ in RULES}


EFFECTS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("chat_chat", "chat_versions"): (
        (OPEN, f"UPDATE chat_chat SET generation_attempt = 9 {OF_IT}"),
        f"SELECT retry_state IS NULL FROM chat_chat {OF_IT}",
    ),
    ("chat_chat", "chat_family"): ((new_chat("archived", "archived"),), "SELECT false"),
    ("chat_chat", "touch_updated_at"): (
        (f"UPDATE chat_chat SET updated_at = '2001-01-01' {OF_IT}",),
        f"SELECT updated_at > '2002-01-01' FROM chat_chat {OF_IT}",
    ),
    ("chat_chatmessage", "message_versions"): ((OPEN, SAY), f"SELECT history_version = 8 FROM chat_chat {OF_IT}"),
    ("chat_chatmessage", "message_delete_guard"): (
        (OPEN, f"DELETE FROM chat_chatmessage {OF_CHAT}"),
        f"SELECT history_version = 8 FROM chat_chat {OF_IT}",
    ),
    ("chat_queuedmessage", "queue_versions"): ((OPEN, QUEUE), f"SELECT queue_version = 8 FROM chat_chat {OF_IT}"),
    ("chat_queuedmessage", "queue_delete_versions"): (
        (OPEN, f"DELETE FROM chat_queuedmessage {OF_CHAT}"),
        f"SELECT queue_version = 8 FROM chat_chat {OF_IT}",
    ),
    ("chat_runnerlease", "touch_updated_at"): (
        (f"UPDATE chat_runnerlease SET updated_at = '2001-01-01' {OF_CHAT}",),
        f"SELECT updated_at > '2002-01-01' FROM chat_runnerlease {OF_CHAT}",
    ),
}
"""(table, trigger) → statements, and a question that is answered with yes, or refused, because the trigger is there."""


@pytest.mark.parametrize(("table", "trigger"), EFFECTS, ids=lambda name: name)
@pytest.mark.parametrize("disabled", [False, True], ids=["with it", "without it"])
def test_a_trigger_does_what_nobody_else_does(table: str, trigger: str, disabled: bool, committed: Committed) -> None:
    statements, question = EFFECTS[table, trigger]
    if disabled:
        name = value_of(
            f"SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgname ~ '^pgtrigger_{trigger}_'",
            committed,
        )
        run(f"ALTER TABLE {table} DISABLE TRIGGER {name}", committed)
    try:
        with transaction.atomic():
            for sql in statements:
                run(sql, committed)
            done = not value_of(question, committed)
    except IntegrityError:
        done = False
    assert done == disabled


def test_every_trigger_has_an_effect_that_is_tested() -> None:
    assert set(triggers()) == set(EFFECTS)
