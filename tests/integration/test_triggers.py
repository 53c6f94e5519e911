"""What triggers refuse or correct by themselves, whoever writes: plain SQL that tries to get past each of them.

The door's guard, the versions that follow, families, authors, times. What a constraint refuses is in
`test_constraints.py`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction

from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from tests.factories import RUNNER, chat_row, photograph
from tests.past_the_door import (
    COPY_MESSAGES,
    COPY_QUEUE,
    DOOR,
    MESSAGE_COLUMNS,
    MESSAGE_LINE,
    MESSAGE_VALUES,
    OF_CHAT,
    OPEN,
    OPEN_OTHER,
    QUEUE,
    QUEUE_OFTEN,
    QUEUED_LINE,
    SAY,
    SAY_OFTEN,
    Committed,
    committed_chats,
    constraint_of,
    copy_in,
    new_chat,
    refused_for,
    run,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def committed(django_db_setup: None, django_db_blocker: Any) -> Iterator[Committed]:
    yield from committed_chats(django_db_blocker)


WRITES = {
    "insert a message": SAY,
    "insert fifty messages": SAY_OFTEN,
    "insert a message unless it is there": SAY + " ON CONFLICT DO NOTHING",
    "insert a message in a subquery": f"WITH said AS ({SAY} RETURNING id) SELECT * FROM said",
    "change a message": f"UPDATE chat_chatmessage SET parts = '[2]' {OF_CHAT}",
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
    "mark a queued message as steering": f"UPDATE chat_queuedmessage SET steering = NOT steering {OF_CHAT}",
    "change the options of a queued message": f"UPDATE chat_queuedmessage SET options = '[1]' {OF_CHAT}",
    "empty the queue": f"DELETE FROM chat_queuedmessage {OF_CHAT}",
}
"""Writes of messages and queue, each allowed in a transaction that advanced the chat's snapshot, and in no other."""


# --- the guard of the door --------------------------------------------------------------------------------------


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
    assert row[moved] == row["snapshot_version"] == 8


def test_an_orm_write_of_a_message_is_refused_like_any_other(committed: Committed) -> None:
    before = photograph()
    for write in (
        lambda: ChatMessage.objects.create(chat_id=committed.chat, role="user", parts=[1]),
        lambda: ChatMessage.objects.bulk_create([ChatMessage(chat_id=committed.chat, role="user", parts=[1])] * 3),
        lambda: ChatMessage.objects.filter(chat_id=committed.chat).update(deleted=True),
        lambda: ChatMessage.objects.filter(chat_id=committed.chat).delete(),
        lambda: QueuedMessage.objects.create(chat_id=committed.chat, position=3, parts=[1]),
        lambda: QueuedMessage.objects.filter(chat_id=committed.chat).delete(),
    ):
        with pytest.raises(IntegrityError) as refusal, transaction.atomic():
            write()
        assert constraint_of(refusal.value.__cause__) == DOOR
    assert photograph() == before


COPIES = {"messages": (COPY_MESSAGES, MESSAGE_LINE), "queue": (COPY_QUEUE, QUEUED_LINE)}


@pytest.mark.parametrize("table", COPIES)
def test_copy_goes_through_the_same_door(table: str, committed: Committed) -> None:
    sql, line = COPIES[table]
    lines = [line.format(chat=committed.chat)] * 20
    before = photograph()
    with pytest.raises(psycopg.errors.CheckViolation) as refusal, transaction.atomic():
        copy_in(sql, lines)
    assert constraint_of(refusal.value) == DOOR
    assert photograph() == before

    run(OPEN, committed)
    copy_in(sql, lines)
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


# --- authors ----------------------------------------------------------------------------------------------------

TABLES = ["chat_chatmessage", "chat_queuedmessage"]
OF_OTHER = "WHERE chat_id = %(other)s"


def without_authors() -> list[Any]:
    return [
        {name: value for name, value in row.items() if name != "created_by_id"}
        for model in (Chat, ChatMessage, QueuedMessage)
        for row in model.objects.order_by("pk").values()
    ]


def test_a_user_who_wrote_in_anothers_chat_can_be_deleted_and_what_was_said_stays(committed: Committed) -> None:
    before = without_authors()
    get_user_model().objects.get(pk=committed.guest).delete()
    assert without_authors() == before
    for model, written in ((ChatMessage, 2), (QueuedMessage, 2)):
        assert model.objects.filter(chat_id=committed.other, created_by=None).count() == written


@pytest.mark.parametrize("table", TABLES)
def test_forgetting_an_author_moves_nothing_through_the_door_either(table: str, committed: Committed) -> None:
    run(OPEN_OTHER, committed)
    before = without_authors()
    assert run(f"UPDATE {table} SET created_by_id = NULL {OF_OTHER} AND created_by_id IS NOT NULL", committed)
    assert without_authors() == before


@pytest.mark.parametrize(
    ("table", "change"),
    [
        *((table, "created_by_id = NULL, parts = '[2]'") for table in TABLES),
        *((table, "created_by_id = NULL, chat_id = %(chat)s") for table in TABLES),
        *((table, "created_by_id = %(owner)s") for table in TABLES),
        ("chat_chatmessage", "created_by_id = NULL, deleted = true"),
        ("chat_chatmessage", "created_by_id = NULL, revision = revision + 1"),
        ("chat_queuedmessage", "created_by_id = NULL, position = position + 1"),
        ("chat_queuedmessage", "created_by_id = NULL, steering = true"),
    ],
)
def test_whoever_forgets_an_author_can_change_nothing_else(table: str, change: str, committed: Committed) -> None:
    refused_for(DOOR, committed, f"UPDATE {table} SET {change} {OF_OTHER} AND created_by_id IS NOT NULL")


@pytest.mark.parametrize("table", TABLES)
def test_what_nobody_signed_stays_unsigned(table: str, committed: Committed) -> None:
    forget = f"UPDATE {table} SET created_by_id = NULL {OF_OTHER}"
    refused_for(DOOR, committed, forget, f"UPDATE {table} SET created_by_id = %(guest)s {OF_OTHER}")


def test_a_new_chat_with_a_retry_state_says_in_which_snapshot_it_came_about(committed: Committed) -> None:
    for value, version in (("NULL", 0), ("'{\"attempt\": 1}'::jsonb", 7)):
        run(new_chat(id="'00000000-0000-0000-0000-0000000000aa'", retry_state=value), committed)
        made = Chat.objects.filter(pk="00000000-0000-0000-0000-0000000000aa")
        assert made.get().retry_state_version == version
        made.delete()


# --- waiting for a worker ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["waiting", "error", "running", "interrupting", "requires_action"])
@pytest.mark.parametrize("archived", [False, True], ids=["live", "archived"])
@pytest.mark.parametrize("owned", [False, True], ids=["nobody's", "somebody's"])
def test_a_chat_waits_for_a_worker_if_there_is_work_that_nobody_has(
    status: str, archived: bool, owned: bool, committed: Committed
) -> None:
    owner = "'00000000-0000-0000-0000-000000000001'" if owned else "NULL"
    columns = {"status": f"'{status}'", "archived": str(archived), "runner_id": owner, "worker_id": owner}
    waits = status in ("running", "interrupting") and not archived and not owned
    run(new_chat(**columns), committed)
    assert (Chat.objects.latest("updated_at").waiting_since is not None) == waits
    change = ", ".join(f"{name} = {value}" for name, value in columns.items())
    run(f"UPDATE chat_chat SET {change} WHERE id = %(chat)s", committed)
    assert (chat_row(committed.chat)["waiting_since"] is not None) == waits


def test_a_chat_keeps_its_place_in_the_line_until_somebody_takes_it(committed: Committed) -> None:
    nobody, somebody = [f"runner_id = {who}, worker_id = {who}" for who in ("NULL", "%(runner)s")]
    since = []
    for change in (nobody, "title = 'another'", "status = 'interrupting'", "waiting_since = NULL", somebody, nobody):
        run(f"UPDATE chat_chat SET {change} WHERE id = %(chat)s", committed)
        since.append(chat_row(committed.chat)["waiting_since"])
    first, *unchanged, taken, again = since
    assert unchanged == [first] * 3
    assert taken is None
    assert again > first


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
@pytest.mark.parametrize("together", [False, True], ids=["one", "two at once"])
def test_messages_queue_and_leases_go_with_their_chat_and_with_no_other(
    by: str, together: bool, committed: Committed
) -> None:
    chats = [committed.chat, committed.other][: 1 + together]
    if by == "SQL":
        run(f"DELETE FROM chat_chat WHERE id IN ({', '.join(repr(str(chat)) for chat in chats)})", committed)
    else:
        Chat.objects.filter(pk__in=chats).delete()
    for model, left in ((ChatMessage, 2), (QueuedMessage, 2), (RunnerLease, 1)):
        assert model.objects.filter(chat_id__in=chats).count() == 0
        assert model.objects.filter(chat_id=committed.other).count() == (0 if together else left)
