"""What each transition changes, from each state: the rows of `tests/effects.py`, and nothing besides."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.update import chat_update
from tests.effects import EFFECTS, OWNERS, DatabaseNow, Effect, S
from tests.factories import chat_in, chat_row, history_of, photograph_of, queue_of
from tests.table import TABLE
from tests.transition_calls import CALLS

pytestmark = pytest.mark.django_db


def test_the_effects_cover_every_cell_that_the_table_allows() -> None:
    covered = {(str(CALLS[effect.name].transition), str(effect.state)) for effect in EFFECTS}
    assert covered == {cell for cell, outputs in TABLE.items() if outputs and cell[0] != "create"}
    assert {effect.name for effect in EFFECTS} == CALLS.keys() - {"create"}


def database_time() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        time: datetime = cursor.fetchone()[0]
        return time


def rows_of(model: Any, chat_id: UUID) -> list[dict[str, Any]]:
    return list(model.objects.filter(chat_id=chat_id).order_by("id").values())


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """What a transition may change; the rest follows by itself, in the database."""
    return {name: row[name] for name in row if name not in ("updated_at", "snapshot_xid", "waiting_since")}


@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_a_transition_changes_what_the_effects_table_says_and_nothing_else(effect: Effect, user: Any) -> None:
    chat_id = chat_in(effect.state, user, **(CALLS[effect.name].chat | effect.chat))
    bystander = chat_in(State.R1, user)
    before, bystanders = chat_row(chat_id), photograph_of(bystander)
    history, messages = history_of(chat_id), rows_of(ChatMessage, chat_id)
    queue, queued = queue_of(chat_id), rows_of(QueuedMessage, chat_id)
    lease = rows_of(RunnerLease, chat_id)

    began_at = database_time()
    with chat_update(chat_id) as update:
        (effect.do or CALLS[effect.name].do)(update, user)
    ended_at = database_time()

    after = chat_row(chat_id)
    assert began_at < after["updated_at"] < ended_at
    changes = dict(effect.changes)
    for name, value in effect.changes.items():
        if isinstance(value, DatabaseNow):
            changes[name] = after[name]
            assert began_at < after[name] - timedelta(seconds=value.after) < ended_at
    assert columns(after) == columns(before) | {"snapshot_version": S} | changes

    first_hidden = len(messages) - effect.hidden
    for message in messages[first_hidden:]:
        message.update(deleted=True, revision=S)
    rows = rows_of(ChatMessage, chat_id)
    assert rows[: len(messages)] == messages
    assert history_of(chat_id) == [*history[:first_hidden], *effect.added]
    assert [row["revision"] for row in rows[len(messages) :]] == [S] * len(effect.added)

    assert queue_of(chat_id) == (queue if effect.queue is None else list(effect.queue))
    if effect.name != "update_queued_message":
        still_there = {row["id"]: row for row in rows_of(QueuedMessage, chat_id)}
        kept = [row for row in queued if row["id"] in still_there]
        moved = ("position",) if effect.name == "promote_queued_message" else ()
        for row in kept:
            assert still_there[row["id"]] == row | {name: still_there[row["id"]][name] for name in moved}

    leases = rows_of(RunnerLease, chat_id)
    assert [(row["worker_id"], row["runner_id"]) for row in leases] == OWNERS[effect.leases]
    assert effect.leases != "kept" or leases == lease
    assert photograph_of(bystander) == bystanders
    published = {field.attname: getattr(update.chat, field.attname) for field in Chat._meta.concrete_fields}
    assert columns(published) == columns(after)  # what is told is what is stored
    assert update.chat.updated_at == after["updated_at"]


KEEPS_THE_MARK = {
    "acquire", "abandon", "set_archived_true", "set_archived_false", "commit_step", "absorb_steering",
    "record_generation_attempt", "record_retry_state", "update_queued_message", "delete_queued_message",
}  # fmt: skip


def test_the_mark_to_compact_survives_ownership_archiving_and_what_leaves_the_turn_alone_and_nothing_else() -> None:
    """Rule 9; the effects above prove each row."""
    for effect in EFFECTS:
        queues = effect.name.startswith("send_") and "history_version" not in effect.changes
        keeps = queues or (effect.name in KEEPS_THE_MARK and effect.case != "the compaction")
        assert ("compaction_requested_at" not in effect.changes) is keeps, effect


def test_only_acquire_abandon_and_a_request_to_compact_change_the_owner() -> None:
    """Rule 11; the effects above prove each row."""
    names = {effect.name for effect in EFFECTS if effect.leases != "kept" or "runner_id" in effect.changes}
    assert names == {"acquire", "abandon", "request_compaction"}


def test_attempts_begin_anew_with_every_new_history_and_only_there() -> None:
    """Rule 2; the effects above prove each row."""
    for effect in EFFECTS:
        if effect.name != "record_generation_attempt":
            assert ("history_version" in effect.changes) is (effect.changes.get("generation_attempt") == 0), effect
        assert ("generation_attempt" in effect.changes) <= ("retry_state" in effect.changes), effect
