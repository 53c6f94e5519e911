"""What the database refuses or corrects by itself, whoever writes: plain SQL that tries to break every rule.

The chats here are committed before a test begins, because within the transaction that created it a chat is open for
writing; each test then works in a transaction that is rolled back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from tests.factories import ANSWERED, RUNNER, SAID, chat_in, chat_row, photograph

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Committed:
    """Two chats with two messages, two queued messages and a lease each, at snapshot 7."""

    chat: UUID
    other: UUID


@pytest.fixture(scope="module")
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[Committed]:
    with django_db_blocker.unblock():
        owner = get_user_model().objects.create(username="committed")
        chats = [chat_in(State.R1, owner, queued=2, history=(SAID, ANSWERED)) for _ in range(2)]
        yield Committed(*chats)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM chat_chat WHERE id = ANY(%s)", [chats])
        owner.delete()
        connection.close()


OPEN = "UPDATE chat_chat SET snapshot_version = snapshot_version + 1 WHERE id = %(chat)s"
OPEN_OTHER = "UPDATE chat_chat SET snapshot_version = snapshot_version + 1 WHERE id = %(other)s"

MESSAGE_COLUMNS = "chat_id, role, parts, content_version, visibility, compressed, deleted, interrupted, revision, model"
MESSAGE_VALUES = "%(chat)s, 'user', '[]', 1, 'both', false, false, false, 0, ''"
SAY = f"INSERT INTO chat_chatmessage ({MESSAGE_COLUMNS}) VALUES ({MESSAGE_VALUES})"
SAY_OFTEN = f"INSERT INTO chat_chatmessage ({MESSAGE_COLUMNS}) SELECT {MESSAGE_VALUES} FROM generate_series(1, 50)"
COPY_MESSAGES = f"COPY chat_chatmessage ({MESSAGE_COLUMNS}) FROM STDIN"
QUEUE_COLUMNS = "chat_id, parts, position, model"
QUEUE = f"INSERT INTO chat_queuedmessage ({QUEUE_COLUMNS}) VALUES (%(chat)s, '[]', 9, '')"
QUEUE_OFTEN = (
    f"INSERT INTO chat_queuedmessage ({QUEUE_COLUMNS}) SELECT %(chat)s, '[]', n, '' FROM generate_series(1, 9) n"
)
COPY_QUEUE = f"COPY chat_queuedmessage ({QUEUE_COLUMNS}) FROM STDIN"
OF_CHAT = "WHERE chat_id = %(chat)s"

WRITES = {
    "insert a message": SAY,
    "insert fifty messages": SAY_OFTEN,
    "insert a message unless it is there": SAY + " ON CONFLICT DO NOTHING",
    "insert a message in a subquery": f"WITH said AS ({SAY} RETURNING id) SELECT * FROM said",
    "change a message": f"UPDATE chat_chatmessage SET parts = '[1]' {OF_CHAT}",
    "mark a message as deleted": f"UPDATE chat_chatmessage SET deleted = true {OF_CHAT}",
    "say that a message never changed": f"UPDATE chat_chatmessage SET parts = '[1]', revision = revision {OF_CHAT}",
    "delete messages": f"DELETE FROM chat_chatmessage {OF_CHAT}",
    "merge messages": f"""MERGE INTO chat_chatmessage m USING (SELECT 1) one ON m.chat_id = %(chat)s
        WHEN MATCHED THEN UPDATE SET role = 'tool' WHEN NOT MATCHED THEN
        INSERT ({MESSAGE_COLUMNS}) VALUES ({MESSAGE_VALUES})""",
    "queue a message": QUEUE,
    "queue nine messages": QUEUE_OFTEN,
    "reorder the queue": f"UPDATE chat_queuedmessage SET position = -position {OF_CHAT}",
    "edit a queued message": f"UPDATE chat_queuedmessage SET parts = '[1]' {OF_CHAT}",
    "empty the queue": f"DELETE FROM chat_queuedmessage {OF_CHAT}",
}
"""Writes of messages and queue, each allowed in a transaction that advanced the chat's snapshot, and in no other."""


def run(sql: str, committed: Committed) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"chat": committed.chat, "other": committed.other, "runner": RUNNER})
        return cursor.rowcount


def copy_in(sql: str, line: str, times: int) -> None:
    connection.ensure_connection()
    with connection.connection.cursor() as cursor, cursor.copy(sql) as copy:
        for _ in range(times):
            copy.write(line)


def constraint_of(error: BaseException | None) -> str | None:
    assert isinstance(error, psycopg.errors.IntegrityError), error
    return error.diag.constraint_name


def refused_for(constraint: str, committed: Committed, *statements: str) -> None:
    """The last of the statements is refused by `constraint`; nothing has changed once all are undone."""
    before = photograph()
    *first, last = statements
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        for sql in first:
            run(sql, committed)
        with transaction.atomic():
            run(last, committed)
    assert constraint_of(refusal.value.__cause__) == constraint
    assert photograph() == before


# --- the guard of the door --------------------------------------------------------------------------------------

DOOR = "chat_written_through_the_door"


@pytest.mark.parametrize("write", list(WRITES))
def test_nobody_can_bypass_the_door_to(write: str, committed: Committed) -> None:
    refused_for(DOOR, committed, WRITES[write])


@pytest.mark.parametrize("write", list(WRITES))
def test_another_chats_open_door_does_not_help_to(write: str, committed: Committed) -> None:
    refused_for(DOOR, committed, OPEN_OTHER, WRITES[write])


@pytest.mark.parametrize("write", list(WRITES))
def test_a_rolled_back_savepoint_closes_the_door_to(write: str, committed: Committed) -> None:
    refused_for(DOOR, committed, "SAVEPOINT opened", OPEN, "ROLLBACK TO opened", WRITES[write])


@pytest.mark.parametrize(
    "pretence",
    [
        "UPDATE chat_chat SET title = 'another' WHERE id = %(chat)s",
        "UPDATE chat_chat SET snapshot_version = snapshot_version WHERE id = %(chat)s",
        "UPDATE chat_chat SET snapshot_xid = pg_current_xact_id()::text::bigint WHERE id = %(chat)s",
        "UPDATE chat_chat SET history_version = snapshot_version WHERE id = %(chat)s",
        "SELECT * FROM chat_chat WHERE id = %(chat)s FOR UPDATE",
    ],
    ids=["title", "the same snapshot", "the transaction's mark by hand", "another version", "the lock alone"],
)
@pytest.mark.parametrize("write", ["insert a message", "queue a message", "delete messages", "empty the queue"])
def test_without_a_new_snapshot_nothing_else_opens_the_door_to(write: str, pretence: str, committed: Committed) -> None:
    refused_for(DOOR, committed, pretence, WRITES[write])


@pytest.mark.parametrize("write", list(WRITES))
@pytest.mark.parametrize("in_savepoint", [False, True], ids=["plain", "in a savepoint"])
def test_through_the_door_one_can(write: str, in_savepoint: bool, committed: Committed) -> None:
    run(OPEN, committed)
    if in_savepoint:
        with transaction.atomic():
            run(WRITES[write], committed)
    else:
        run(WRITES[write], committed)
    moved = "queue_version" if "queue" in WRITES[write] else "history_version"
    row = chat_row(committed.chat)
    if not write.startswith("delete"):  # rows are deleted by hand only together with their chat
        assert row[moved] == row["snapshot_version"] == 8


def test_an_orm_write_of_a_message_is_refused_like_any_other(committed: Committed) -> None:
    before = photograph()
    for write in (
        lambda: ChatMessage.objects.create(chat_id=committed.chat, role="user", parts=[]),
        lambda: ChatMessage.objects.bulk_create([ChatMessage(chat_id=committed.chat, role="user", parts=[])] * 3),
        lambda: ChatMessage.objects.filter(chat_id=committed.chat).update(deleted=True),
        lambda: ChatMessage.objects.filter(chat_id=committed.chat).delete(),
        lambda: QueuedMessage.objects.create(chat_id=committed.chat, position=3, parts=[]),
        lambda: QueuedMessage.objects.filter(chat_id=committed.chat).delete(),
    ):
        with pytest.raises(IntegrityError) as refusal, transaction.atomic():
            write()
        assert constraint_of(refusal.value.__cause__) == DOOR
    assert photograph() == before


COPIES = {
    "messages": (COPY_MESSAGES, "{chat}\tuser\t[]\t1\tboth\tf\tf\tf\t0\t\n"),
    "queue": (COPY_QUEUE, "{chat}\t[]\t9\t\n"),
}


@pytest.mark.parametrize("table", COPIES)
def test_copy_goes_through_the_same_door(table: str, committed: Committed) -> None:
    sql, line = COPIES[table]
    line = line.format(chat=committed.chat)
    before = photograph()
    with pytest.raises(psycopg.errors.CheckViolation) as refusal, transaction.atomic():
        copy_in(sql, line, 20)
    assert constraint_of(refusal.value) == DOOR
    assert photograph() == before

    run(OPEN, committed)
    copy_in(sql, line, 20)
    row = chat_row(committed.chat)
    if table == "messages":
        assert row["history_version"] == 8
        assert ChatMessage.objects.filter(chat_id=committed.chat, revision=8).count() == 20
    else:
        assert row["queue_version"] == 8
        assert QueuedMessage.objects.filter(chat_id=committed.chat).count() == 22


def test_the_door_is_closed_again_with_the_next_transaction(committed: Committed) -> None:
    row = chat_row(committed.chat)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        assert row["snapshot_xid"] not in (0, cursor.fetchone()[0])


# --- versions ---------------------------------------------------------------------------------------------------


def test_a_write_moves_the_history_version_and_begins_the_attempts_anew(committed: Committed) -> None:
    run(OPEN, committed)
    run(SAY_OFTEN, committed)
    row = chat_row(committed.chat)
    assert (row["snapshot_version"], row["history_version"], row["queue_version"]) == (8, 8, 5)
    assert (row["generation_attempt"], row["retry_state"], row["retry_state_version"]) == (0, None, 8)
    assert ChatMessage.objects.filter(chat_id=committed.chat, revision=8).count() == 50


def test_a_changed_message_gets_the_new_revision_and_the_others_keep_theirs(committed: Committed) -> None:
    run(OPEN, committed)
    changed = ChatMessage.objects.filter(chat_id=committed.chat).earliest("id")
    run(f"UPDATE chat_chatmessage SET deleted = true WHERE id = {changed.pk}", committed)
    revisions = ChatMessage.objects.filter(chat_id=committed.chat).order_by("id").values_list("revision", flat=True)
    assert list(revisions) == [8, 3]
    assert chat_row(committed.chat)["history_version"] == 8


@pytest.mark.parametrize(
    "write",
    [
        f"UPDATE chat_chatmessage SET parts = parts, role = role, deleted = false {OF_CHAT}",
        "UPDATE chat_chatmessage SET parts = replace(parts::text, '\": ', '\" : ')::jsonb " + OF_CHAT,
        f"UPDATE chat_queuedmessage SET position = position, parts = parts {OF_CHAT}",
    ],
    ids=["messages", "the same JSON spelt otherwise", "queue"],
)
def test_an_update_that_changes_nothing_moves_no_version(write: str, committed: Committed) -> None:
    run(OPEN, committed)
    before = chat_row(committed.chat)
    assert run(write, committed) == 2
    assert chat_row(committed.chat) == before
    assert set(ChatMessage.objects.filter(chat_id=committed.chat).values_list("revision", flat=True)) == {3}


@pytest.mark.parametrize(
    "change",
    ["title = title", "labels = labels, status = status", "retry_state = '{\"attempt\": 2}'", "snapshot_xid = 5"],
)
def test_a_chat_update_that_changes_nothing_bumps_nothing(change: str, committed: Committed) -> None:
    before = chat_row(committed.chat)
    run(f"UPDATE chat_chat SET {change} WHERE id = %(chat)s", committed)
    assert chat_row(committed.chat) == before


@pytest.mark.parametrize(
    ("change", "attempt", "retry_state", "retry_version"),
    [
        ("history_version = 8", 0, None, 8),
        ("history_version = 8, generation_attempt = 9", 0, None, 8),
        ("history_version = 8, retry_state = '[]'", 0, None, 8),
        ("generation_attempt = 3", 3, None, 8),
        ("generation_attempt = 3, retry_state = '[]'", 3, None, 8),
        ("retry_state = '[]'", 2, [], 8),
        ("retry_state = NULL", 2, None, 8),
        ("retry_state = retry_state", 2, {"attempt": 2}, 6),
        ("queue_version = 8", 2, {"attempt": 2}, 6),
        ("status = 'waiting'", 2, {"attempt": 2}, 6),
    ],
)
def test_attempt_and_retry_state_follow_the_history(
    change: str, attempt: int, retry_state: Any, retry_version: int, committed: Committed
) -> None:
    run(OPEN, committed)
    run(f"UPDATE chat_chat SET {change} WHERE id = %(chat)s", committed)
    row = chat_row(committed.chat)
    assert (row["generation_attempt"], row["retry_state"]) == (attempt, retry_state)
    assert row["retry_state_version"] == retry_version


# --- what is never written by hand, also through the door ---------------------------------------------------------

BY_HAND = [
    ("message_revision_follows", SAY.replace("false, 0, ''", "false, 8, ''")),
    ("message_revision_follows", f"UPDATE chat_chatmessage SET revision = 8 {OF_CHAT}"),
    ("message_revision_follows", f"UPDATE chat_chatmessage SET revision = 1, parts = '[1]' {OF_CHAT}"),
    ("chat_retry_state_version_follows", "UPDATE chat_chat SET retry_state_version = 8 WHERE id = %(chat)s"),
    (
        "chat_retry_state_version_follows",
        "UPDATE chat_chat SET retry_state_version = 7, retry_state = '[]' WHERE id = %(chat)s",
    ),
    ("chat_versions_never_go_down", "UPDATE chat_chat SET snapshot_version = 7 WHERE id = %(chat)s"),
    ("chat_versions_never_go_down", "UPDATE chat_chat SET history_version = 2 WHERE id = %(chat)s"),
    ("chat_versions_never_go_down", "UPDATE chat_chat SET queue_version = 4 WHERE id = %(chat)s"),
    ("chat_versions_do_not_pass_the_snapshot", "UPDATE chat_chat SET history_version = 9 WHERE id = %(chat)s"),
    ("chat_versions_do_not_pass_the_snapshot", "UPDATE chat_chat SET queue_version = 9 WHERE id = %(chat)s"),
    ("chat_generation_attempt_is_not_negative", "UPDATE chat_chat SET generation_attempt = -1 WHERE id = %(chat)s"),
    (
        "chat_is_owned_by_worker_and_runner_or_by_nobody",
        "UPDATE chat_chat SET worker_id = NULL WHERE id = %(chat)s",
    ),
    (
        "chat_is_owned_by_worker_and_runner_or_by_nobody",
        "UPDATE chat_chat SET runner_id = NULL WHERE id = %(chat)s",
    ),
    ("message_has_a_known_role", f"UPDATE chat_chatmessage SET role = 'robot' {OF_CHAT}"),
    ("message_has_a_known_visibility", f"UPDATE chat_chatmessage SET visibility = 'none' {OF_CHAT}"),
    (
        "runner_has_one_lease_of_a_chat",
        "INSERT INTO chat_runnerlease (chat_id, runner_id, worker_id) VALUES (%(chat)s, %(runner)s, %(runner)s)",
    ),
]


@pytest.mark.parametrize(("constraint", "sql"), BY_HAND, ids=[sql[:70] for _, sql in BY_HAND])
def test_the_database_refuses_also_through_the_door(constraint: str, sql: str, committed: Committed) -> None:
    refused_for(constraint, committed, OPEN, sql)


@pytest.mark.parametrize("table", ["chat_chatmessage", "chat_queuedmessage"])
@pytest.mark.parametrize("doors", [(OPEN,), (OPEN_OTHER,), (OPEN, OPEN_OTHER)], ids=["its own", "the other", "both"])
def test_a_message_never_moves_to_another_chat(table: str, doors: tuple[str, ...], committed: Committed) -> None:
    expected = "message_stays_in_its_chat" if OPEN_OTHER in doors else DOOR
    refused_for(expected, committed, *doors, f"UPDATE {table} SET chat_id = %(other)s {OF_CHAT}")


def test_a_message_keeps_its_number(committed: Committed) -> None:
    refused_for("message_stays_in_its_chat", committed, OPEN, f"UPDATE chat_chatmessage SET id = id + 1000 {OF_CHAT}")


def test_a_message_of_no_chat_is_refused(committed: Committed) -> None:
    for sql in (SAY, QUEUE):
        with pytest.raises(IntegrityError), transaction.atomic():
            run(sql, Committed(UUID(int=0), committed.other))
            run("SET CONSTRAINTS ALL IMMEDIATE", committed)


# --- updated_at -------------------------------------------------------------------------------------------------

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    ["title = 'another'", "archived = true", "updated_at = '2001-01-01', pin_order = 3", "last_error = NULL"],
)
def test_every_change_of_a_chat_bumps_updated_at(change: str, committed: Committed) -> None:
    before = chat_row(committed.chat)["updated_at"]
    run(f"UPDATE chat_chat SET {change} WHERE id = %(chat)s", committed)
    assert chat_row(committed.chat)["updated_at"] > before


@pytest.mark.parametrize("table", ["chat_chat", "chat_runnerlease"])
def test_updated_at_is_not_set_by_hand(table: str, committed: Committed) -> None:
    before = photograph_of(table)
    run(f"UPDATE {table} SET updated_at = '2001-01-01'", committed)
    assert photograph_of(table) == before


def photograph_of(table: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT row_to_json({table})::text FROM {table} ORDER BY 1")
        return cursor.fetchall()


def test_a_new_row_says_when_it_was_made_whatever_its_maker_says(committed: Committed) -> None:
    owner_id = chat_row(committed.chat)["owner_id"]
    made = Chat.objects.create(owner_id=owner_id, model="demo:demo", status="waiting", updated_at=LONG_AGO)
    lease = RunnerLease.objects.create(chat=made, runner_id=RUNNER, worker_id=RUNNER, updated_at=LONG_AGO)
    made.refresh_from_db()
    lease.refresh_from_db()
    assert made.updated_at > LONG_AGO
    assert lease.updated_at > LONG_AGO


def test_a_heartbeat_bumps_its_lease_and_leaves_the_chat_alone(committed: Committed) -> None:
    chat = chat_row(committed.chat)
    before = RunnerLease.objects.get(chat_id=committed.chat)
    run(f"UPDATE chat_runnerlease SET heartbeat_at = clock_timestamp() {OF_CHAT}", committed)
    after = RunnerLease.objects.get(chat_id=committed.chat)
    assert after.updated_at > before.updated_at
    assert after.acquired_at == before.acquired_at
    assert chat_row(committed.chat) == chat


# --- deletion ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["SQL", "the ORM"])
def test_messages_queue_and_leases_go_with_their_chat_and_with_no_other(by: str, committed: Committed) -> None:
    if by == "SQL":
        run("DELETE FROM chat_chat WHERE id = %(chat)s", committed)
    else:
        Chat.objects.get(pk=committed.chat).delete()
    for model, left in ((ChatMessage, 2), (QueuedMessage, 2), (RunnerLease, 1)):
        assert model.objects.filter(chat_id=committed.chat).count() == 0
        assert model.objects.filter(chat_id=committed.other).count() == left


def test_many_chats_are_deleted_at_once(committed: Committed) -> None:
    assert run("DELETE FROM chat_chat WHERE id IN (%(chat)s, %(other)s)", committed) == 2
    assert not ChatMessage.objects.exists()
    assert not QueuedMessage.objects.exists()
    assert not RunnerLease.objects.exists()
