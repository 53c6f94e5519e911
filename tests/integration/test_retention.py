"""What is archived and what is deleted, and when: days, families, pins, states; what happens between look and lock."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, OperationalError, connection
from structlog.testing import capture_logs

from chat import bulk, crash, transitions
from chat import metrics as chat_metrics
from chat.crash import Chaos, CrashPoint, rules_in
from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage, RetentionPolicy, RunnerLease, TaskRun
from chat.retention import PER_RUN
from chat.retention.archive import archive_inactive_chats
from chat.retention.batches import Pace
from chat.retention.policy import Policy, current_policy
from chat.retention.purge import purge
from chat.rows import batch
from chat.task_runs import UnderWay, exclusive_run, is_under_way, last_runs
from chat.update import chat_read, chat_update
from chatworker.duties import perform
from tests.aging import last_changed
from tests.factories import LIVE_STATES, chat_in, family_of, photograph
from tests.threads import Threads, check

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2020, 5, 20, 15, 30, tzinfo=UTC)
MIDNIGHT = datetime(2020, 5, 20, tzinfo=UTC)
CUTOFF = MIDNIGHT - timedelta(days=30)
BEFORE, MOMENT = CUTOFF - timedelta(days=1), timedelta(microseconds=1)
AT_ONCE = Pace(batch=2, pause=0)


@pytest.fixture(autouse=True)
def told(published: list[Any]) -> list[Any]:
    return published


def archive(**options: Any) -> dict[str, int]:
    return archive_inactive_chats(**{"days": 30, "now": NOW, "pace": AT_ONCE, **options})


def purge_all(**options: Any) -> dict[str, int]:
    return purge(**{"days": 30, "now": NOW, "pace": AT_ONCE, **options})


def old(owner: Any, *states: State, at: datetime = BEFORE, pin_order: int = 0) -> list[UUID]:
    """A family, or a single chat, in which nothing has happened since `at`."""
    family = family_of(owner, *states)
    for chat_id in family:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE chat_chat SET pin_order = %s WHERE id = %s", [pin_order, chat_id])
    last_changed(family, at)
    return family


def state(chat_id: UUID) -> str:
    return str(chat_read(chat_id).state)


def left() -> set[UUID]:
    return set(Chat.objects.values_list("pk", flat=True))


# --- archive: days ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "archived"),
    [(CUTOFF - MOMENT, 1), (CUTOFF, 0), (CUTOFF + MOMENT, 0)],
    ids=["a microsecond before midnight", "at midnight", "a microsecond after"],
)
def test_activity_strictly_before_midnight_utc_minus_so_many_days_is_archived(
    at: datetime, archived: int, user: Any
) -> None:
    [chat_id] = old(user, State.W, at=at)
    assert archive()["chats"] == archived
    assert state(chat_id) == ("XW" if archived else "W")


@pytest.mark.parametrize(
    "now", [MIDNIGHT, MIDNIGHT + timedelta(hours=24) - MOMENT], ids=["first moment", "last moment"]
)
def test_all_day_long_the_same_chats_are_due(now: datetime, user: Any) -> None:
    [due], [not_due] = old(user, State.W, at=CUTOFF - MOMENT), old(user, State.W, at=CUTOFF)
    archive(now=now)
    assert (state(due), state(not_due)) == ("XW", "W")


@pytest.mark.parametrize("days", [0, -1, -30])
def test_without_days_nothing_is_archived_and_nobody_is_looked_for(
    days: int, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(user, State.W)
    monkeypatch.setattr(batch, "inactive", lambda *_, **__: pytest.fail("it looked"))
    before = photograph()
    assert archive(days=days)["chats"] == 0
    assert photograph() == before


def test_more_days_than_there_were_archive_nothing(user: Any) -> None:
    old(user, State.W)
    assert archive(days=10**6)["chats"] == 0


# --- archive: what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", LIVE_STATES)
def test_a_chat_at_rest_is_archived_and_no_other(before: State, user: Any) -> None:
    [chat_id] = old(user, State.W) if before is State.INVALID else old(user, before)
    if before is State.INVALID:
        Chat.objects.filter(pk=chat_id).update(status="running", archived=True)
        last_changed([chat_id], BEFORE)
    archive()
    expected = {State.W: "XW", State.E0: "XE0", State.E1: "XE1"}
    assert state(chat_id) == expected.get(before, str(before))


def test_a_waiting_chat_with_a_queue_is_not_even_nominated(user: Any) -> None:
    chat_id = chat_in(State.W, user, queued=1)
    Chat.objects.filter(pk=chat_id).update(pin_order=0)
    last_changed([chat_id], BEFORE)
    assert batch.inactive(CUTOFF, after=None, limit=10) == []


def test_a_pinned_chat_stays_and_so_does_the_family_of_a_pinned_member(user: Any) -> None:
    [pinned] = old(user, State.W, pin_order=1)
    root, child = old(user, State.W, State.W)
    Chat.objects.filter(pk=child).update(pin_order=1)
    last_changed([root, child], BEFORE)
    assert archive()["chats"] == 0
    assert [state(chat_id) for chat_id in (pinned, root, child)] == ["W"] * 3


@pytest.mark.parametrize("busy", [State.R0, State.R1, State.I0, State.A0])
@pytest.mark.parametrize("member", [1, 2], ids=["a child", "a grandchild"])
def test_a_family_with_a_member_at_work_is_skipped_and_others_proceed(busy: State, member: int, user: Any) -> None:
    states = [State.W, State.W, State.W]
    states[member] = busy
    stays, goes = old(user, *states), old(user, State.W, State.E0)
    assert archive() == {"chats": 2, "families": 1, "skipped": 0, "digests": 0}
    assert [state(chat_id) for chat_id in stays] == [str(one) for one in states]
    assert [state(chat_id) for chat_id in goes] == ["XW", "XE0"]


def test_activity_of_one_member_keeps_its_family(user: Any) -> None:
    root, child = old(user, State.W, State.W)
    last_changed([child], CUTOFF)
    assert archive()["chats"] == 0
    last_changed([child], CUTOFF - MOMENT)
    assert archive()["chats"] == 2
    assert (state(root), state(child)) == ("XW", "XW")


def test_every_member_moves_once_and_is_published_once(user: Any, told: list[Any]) -> None:
    family = old(user, State.W, State.E1, State.W)
    archive()
    versions = Chat.objects.filter(pk__in=family).values_list("archived", "snapshot_version", "history_version")
    assert set(versions) == {(True, 8, 3)}
    assert sorted(told) == sorted(zip(["update"] * 3, family, ["XW", "XE1", "XW"], strict=True))


def test_a_member_that_is_archived_already_stays_untouched(user: Any, told: list[Any]) -> None:
    root, child = old(user, State.W, State.XW)
    assert archive()["chats"] == 1
    assert [one[1] for one in told] == [root]
    assert chat_read(child).chat.snapshot_version == 7


def test_the_oldest_come_first_and_a_run_ends_at_its_limit(user: Any) -> None:
    ages = [3, 1, 5, 2, 4]
    chats = [old(user, State.W, at=BEFORE - timedelta(days=days))[0] for days in ages]
    assert archive(limit=3)["families"] == 3
    assert {days for chat_id, days in zip(chats, ages, strict=True) if state(chat_id) == "XW"} == {3, 4, 5}
    assert archive(limit=3)["families"] == 2


def test_a_second_run_archives_nothing(user: Any) -> None:
    for _ in range(5):
        old(user, State.W)
    assert (archive()["chats"], archive()["chats"]) == (5, 0)


def test_a_chat_that_was_brought_back_is_active(user: Any) -> None:
    [chat_id] = old(user, State.W)
    archive()
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=False)
    assert archive_inactive_chats(days=1, pace=AT_ONCE)["chats"] == 0


# --- archive: between look and lock -------------------------------------------------------------------------------


def send(chat_id: UUID, user: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=[{"type": "text", "text": "new"}], author=user)


def rename(chat_id: UUID, user: Any) -> None:
    Chat.objects.filter(pk=chat_id).update(title="new")


def pin(chat_id: UUID, user: Any) -> None:
    Chat.objects.filter(pk=chat_id).update(pin_order=1)
    last_changed([chat_id], BEFORE)


def archive_it(chat_id: UUID, user: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=True)


def delete(chat_id: UUID, user: Any) -> None:
    Chat.objects.filter(pk=chat_id).delete()


def begin_below(chat_id: UUID, user: Any) -> None:
    transitions.create_chat(owner=user, parts=[{"type": "text", "text": "go"}], parent=Chat.objects.get(pk=chat_id))


@pytest.mark.parametrize("meanwhile", [send, rename, pin, archive_it, delete, begin_below])
def test_what_happens_to_a_nominee_before_it_is_locked_wins(
    meanwhile: Callable[[UUID, Any], None], user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [nominated], [other] = old(user, State.W), old(user, State.W)
    lock, after = batch.lock_families, []

    def too_late(root_ids: Any) -> Any:
        meanwhile(nominated, user)
        after.append(Chat.objects.filter(pk=nominated).values().first())
        return lock(root_ids)

    monkeypatch.setattr(bulk.batch, "lock_families", too_late)
    assert archive(pace=Pace(batch=10, pause=0)) == {"chats": 1, "families": 1, "skipped": 1, "digests": 0}
    assert Chat.objects.filter(pk=nominated).values().first() == after[0]
    assert state(other) == "XW"


@pytest.mark.parametrize("member", [0, 1], ids=["the root", "a child"])
def test_a_chat_that_somebody_holds_is_not_waited_for(member: int, user: Any) -> None:
    family, [other] = old(user, State.W, State.W), old(user, State.W)
    found: list[dict[str, int]] = []
    with chat_update(family[member]) as update:
        with Threads() as others:
            others.start(lambda: found.append(archive()))
        transitions.send_message(update, parts=[{"type": "text", "text": "new"}], author=user)
    assert found == [{"chats": 1, "families": 1, "skipped": 1, "digests": 0}]
    assert state(other) == "XW"
    assert [state(chat_id) for chat_id in family] == (["R0", "W"] if member == 0 else ["W", "R0"])


def test_a_batch_asks_the_table_of_transitions(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old(user, State.W)
    monkeypatch.setattr(bulk, "arrivals", lambda transition, departure: frozenset())
    assert archive() == {"chats": 0, "families": 0, "skipped": 1, "digests": 0}


# --- purge --------------------------------------------------------------------------------------------------------


def archived(owner: Any, *states: State, at: datetime = BEFORE) -> list[UUID]:
    return old(owner, *(states or (State.XW,)), at=at)


@pytest.mark.parametrize(
    ("at", "stays"), [(CUTOFF - MOMENT, False), (CUTOFF, True)], ids=["a microsecond before midnight", "at midnight"]
)
def test_an_archived_chat_is_deleted_after_its_retention_and_not_before(at: datetime, stays: bool, user: Any) -> None:
    [chat_id] = archived(user, at=at)
    assert purge_all()["chats"] == (not stays)
    assert left() == ({chat_id} if stays else set())


def test_an_active_chat_of_any_age_stays(user: Any) -> None:
    [active] = old(user, State.W, at=BEFORE - timedelta(days=900))
    assert purge_all()["chats"] == 0
    assert left() == {active}


def test_messages_queue_and_leases_go_with_their_chats(user: Any) -> None:
    family = archived(user, State.XE1, State.XW)
    assert purge_all() == {"chats": 2, "families": 1, "messages": 4, "skipped": 0}
    for model in (ChatMessage, QueuedMessage, RunnerLease):
        assert not model.objects.filter(chat_id__in=family).exists()


@pytest.mark.parametrize("days", [0, -3])
def test_without_retention_chats_are_kept_for_ever(days: int, user: Any) -> None:
    archived(user, at=BEFORE - timedelta(days=3000))
    before = photograph()
    assert purge_all(days=days)["chats"] == 0
    assert photograph() == before


def test_a_family_stays_while_one_member_is_younger_or_not_archived(user: Any) -> None:
    younger, not_archived = archived(user, State.XW, State.XW), old(user, State.XW, State.W)
    last_changed(younger[1:], CUTOFF)
    assert purge_all()["chats"] == 0
    assert left() == {*younger, *not_archived}


def test_a_row_that_the_machine_does_not_know_is_never_deleted(user: Any) -> None:
    [running] = archived(user)
    Chat.objects.filter(pk=running).update(status="running")
    queued = chat_in(State.XW, user, queued=1)
    last_changed([running, queued], BEFORE)
    assert purge_all() == {"chats": 0, "families": 0, "messages": 0, "skipped": 0}


def archive_by_raw_sql(chat_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_chat SET archived = true WHERE id = %s", [chat_id])


@pytest.mark.parametrize("how", [archive_by_raw_sql, lambda _: archive()], ids=["by raw SQL", "by the run"])
def test_an_archived_chat_has_its_full_retention_however_it_was_archived(how: Callable[[UUID], Any], user: Any) -> None:
    [chat_id] = old(user, State.W, at=BEFORE - timedelta(days=900))
    how(chat_id)
    moment = Chat.objects.get(pk=chat_id).updated_at
    assert purge_all(now=moment + timedelta(days=30))["chats"] == 0, "the day on which it was archived is not over"
    assert purge_all(now=moment + timedelta(days=31))["chats"] == 1


def test_nobody_can_shorten_the_retention_by_writing_updated_at(user: Any) -> None:
    [chat_id] = old(user, State.W)
    Chat.objects.filter(pk=chat_id).update(archived=True, updated_at=BEFORE)
    assert purge_all(now=Chat.objects.get(pk=chat_id).updated_at + timedelta(days=1))["chats"] == 0


@pytest.mark.parametrize(
    ("limit", "gone"),
    [(3, [3, 3, 3]), (4, [3, 3, 3]), (6, [6, 3]), (7, [6, 3])],
    ids=["one fits", "one and a bit", "two fit", "two and a bit"],
)
@pytest.mark.parametrize("pace", [1, 2, 10])
def test_a_run_deletes_no_more_chats_than_its_limit_and_divides_no_family(
    limit: int, gone: list[int], pace: int, user: Any
) -> None:
    families = [archived(user, *[State.XW] * 3, at=BEFORE - timedelta(days=days)) for days in (3, 2, 1)]
    stay = {chat_id for family in families for chat_id in family}
    for chats in gone:
        did = purge_all(limit=limit, pace=Pace(batch=pace, pause=0))
        assert (did["chats"], did["skipped"]) == (chats, 0)
        for _ in range(chats // 3):
            stay -= set(families.pop(0))
        assert left() == stay


def test_a_family_bigger_than_the_limit_goes_alone_and_as_the_first_of_a_run(user: Any) -> None:
    [first] = archived(user, at=BEFORE - timedelta(days=3))
    giant = archived(user, *[State.XW] * 5, at=BEFORE - timedelta(days=2))
    [last] = archived(user, at=BEFORE - timedelta(days=1))
    stay = {first, *giant, last}
    for gone in ({first}, set(giant), {last}):
        assert purge_all(limit=3) == {"chats": len(gone), "families": 1, "messages": 2 * len(gone), "skipped": 0}
        stay -= gone
        assert left() == stay


def test_a_family_that_somebody_holds_is_not_taken_for_the_first_of_a_run(user: Any) -> None:
    held, _ = (archived(user, *[State.XW] * 3, at=BEFORE - timedelta(days=days)) for days in (2, 1))
    found: list[dict[str, int]] = []
    with chat_update(held[0]), Threads() as others:
        others.start(lambda: found.append(purge_all(limit=2)))
    assert found == [{"chats": 3, "families": 1, "messages": 6, "skipped": 1}]
    assert left() == set(held)


def bring_back(chat_id: UUID, user: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.set_archived(update, archived=False)


@pytest.mark.parametrize(("meanwhile", "after"), [(bring_back, "W"), (rename, "XW")])
def test_a_chat_that_somebody_touches_before_it_is_locked_is_not_purged(
    meanwhile: Callable[[UUID, Any], None], after: str, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [chat_id] = archived(user)
    lock = batch.lock_families

    def too_late(root_ids: Any) -> Any:
        meanwhile(chat_id, user)
        return lock(root_ids)

    monkeypatch.setattr(bulk.batch, "lock_families", too_late)
    assert purge_all() == {"chats": 0, "families": 0, "messages": 0, "skipped": 1}
    assert state(chat_id) == after


def test_who_watches_a_chat_is_told_that_it_went(user: Any, told: list[Any]) -> None:
    family = archived(user, State.XW, State.XW)
    purge_all()
    assert sorted(told) == sorted(("update", chat_id, "XW") for chat_id in family)


# --- more than a statement has time for ---------------------------------------------------------------------------


@pytest.fixture
def hurried() -> Iterator[None]:
    """A statement has half a second."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '500ms'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET statement_timeout")


def slowly(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[set[UUID]], float], *, statement: str = "delete"
) -> list[int]:
    """A database that takes so long to delete (or "archive") these chats; how many it was asked for each time."""
    asked: list[int] = []
    at_once = getattr(batch, statement)

    def in_its_time(members: Any) -> Any:
        asked.append(len(members))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", [seconds({member.id for member in members})])
        return at_once(members)

    monkeypatch.setattr(bulk.batch, statement, in_its_time)
    return asked


@pytest.mark.usefixtures("hurried")
def test_what_a_statement_has_no_time_for_is_deleted_in_smaller_batches(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(9):
        archived(user)
    asked = slowly(monkeypatch, lambda chats: 60 if len(chats) > 3 else 0)
    assert purge_all(pace=Pace(batch=8, pause=0)) == {"chats": 9, "families": 9, "messages": 18, "skipped": 0}
    assert asked == [8, 4, 2, 3, 4, 2, 2], "halved when cancelled, one more when not"
    assert left() == set()


@pytest.mark.usefixtures("hurried")
def test_a_single_family_may_take_as_long_as_it_takes(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    giant, *_ = [archived(user, at=BEFORE - timedelta(days=days))[0] for days in (3, 2, 1)]
    asked = slowly(monkeypatch, lambda chats: 0.8 if giant in chats else 0)
    assert purge_all(pace=Pace(batch=2, pause=0)) == {"chats": 3, "families": 3, "messages": 6, "skipped": 0}
    assert asked == [2, 1, 2]
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "500ms", "for the others it is as before"


@pytest.mark.usefixtures("hurried")
def test_what_a_statement_has_no_time_for_is_archived_in_smaller_batches(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    giant, *others = [old(user, State.W, at=BEFORE - timedelta(days=days))[0] for days in (5, 4, 3, 2, 1)]
    asked = slowly(monkeypatch, lambda chats: 0.8 if giant in chats else 0, statement="archive")
    did = archive(pace=Pace(batch=4, pause=0), send_digest=False)
    assert did == {"chats": 5, "families": 5, "skipped": 0, "digests": 0}
    assert asked == [4, 2, 1, 2, 2]
    assert {state(chat_id) for chat_id in (giant, *others)} == {"XW"}


@pytest.mark.usefixtures("hurried")
def test_a_batch_that_is_too_much_leaves_the_limit_of_a_run_as_it_is(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        archived(user)
    slowly(monkeypatch, lambda chats: 60 if len(chats) > 1 else 0)
    assert purge_all(limit=4, pace=Pace(batch=8, pause=0)) == {"chats": 4, "families": 4, "messages": 8, "skipped": 0}
    assert len(left()) == 2


def test_another_error_of_the_database_ends_the_run(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = {archived(user)[0] for _ in range(3)}
    asked: list[int] = []

    def refuse(members: Any) -> int:
        asked.append(len(members))
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE 'no room' USING errcode = 'disk_full'; END $$")
        return 0

    monkeypatch.setattr(bulk.batch, "delete", refuse)
    with pytest.raises(OperationalError, match="no room"):
        purge_all()
    assert (asked, left()) == ([2], chats)


# --- runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "task"), [(archive, "archive_inactive_chats"), (purge_all, "purge")])
def test_two_runs_at_once_exclude_each_other(run: Callable[[], Any], task: str, user: Any) -> None:
    old(user, State.W)
    archived(user)
    before = photograph()
    with exclusive_run(task), Threads() as others:
        assert is_under_way(task)
        others.start(lambda: check(_refused(run)))
        others.start(lambda: perform(task))
    assert photograph() == before
    assert not is_under_way(task)
    assert run()["chats"] == 1


def _refused(run: Callable[[], Any]) -> bool:
    try:
        run()
    except UnderWay:
        return True
    return False


def test_archive_and_purge_do_not_exclude_each_other(user: Any) -> None:
    archived(user)
    with exclusive_run("archive_inactive_chats"), Threads() as others:
        others.start(lambda: check(purge_all()["chats"] == 1))


@pytest.mark.parametrize("point", ["purge.commit.before", "purge.commit.after"])
def test_a_purge_that_dies_half_way_has_done_whole_batches_and_the_next_run_goes_on(
    point: str, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = [archived(user, State.XW, State.XW) for _ in range(5)]
    monkeypatch.setattr(crash, "armed", Chaos(rules_in(f"{point}=raise@2", role="")))
    with pytest.raises(CrashPoint):
        purge_all()
    whole = [set(family) <= left() or not set(family) & left() for family in families]
    assert whole == [True] * 5
    assert len(left()) == (6 if point.endswith("before") else 2)
    row = TaskRun.objects.get(pk="purge")
    assert (row.outcome, "CrashPoint" in row.error) == ("failed", True)
    assert not is_under_way("purge")
    purge_all()
    assert left() == set()


def test_an_archiving_that_dies_half_way_tells_of_what_it_did_and_the_next_run_goes_on(
    user: Any, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = [old(user, State.W)[0] for _ in range(5)]
    monkeypatch.setattr(crash, "armed", Chaos(rules_in("archive.commit.before=raise@2", role="")))
    with pytest.raises(CrashPoint):
        archive()
    done = [chat_id for chat_id in chats if state(chat_id) == "XW"]
    assert len(done) == 2
    assert sorted(one[1] for one in told) == sorted(done)
    assert archive()["chats"] == 3


def test_the_last_run_is_written_down_and_totals_add_up(user: Any) -> None:
    for _ in range(2):
        archived(user)
    purge_all(limit=1)
    purge_all()
    row = TaskRun.objects.get(pk="purge")
    assert (row.outcome, row.did["chats"], row.totals["chats"], row.totals["messages"], row.runs) == (
        "done", 1, 2, 4, 2,
    )  # fmt: skip
    assert row.finished_at is not None
    assert row.finished_at >= row.started_at
    seen = last_runs(["purge", "heartbeat"])["purge"]
    assert (seen.did["chats"], seen.error, seen.interrupted) == (1, "", False)


@pytest.mark.parametrize(("run", "task"), [(archive, "archive_inactive_chats"), (purge_all, "purge")])
def test_what_a_run_did_is_written_down_after_each_batch(run: Callable[..., Any], task: str, user: Any) -> None:
    seen: list[tuple[int, int, str]] = []

    def look(_: int) -> None:
        row = TaskRun.objects.get(pk=task)
        seen.append((row.did["chats"], row.totals["chats"], row.outcome))

    for _ in range(2):
        for _ in range(3):
            old(user, State.W)
            archived(user)
        run(progress=look)
    assert seen == [(2, 2, "running"), (3, 3, "running"), (2, 5, "running"), (3, 6, "running")]
    row = TaskRun.objects.get(pk=task)
    assert (row.did["chats"], row.totals["chats"], row.outcome) == (3, 6, "done")


def test_a_run_that_is_interrupted_says_so_and_is_not_taken_for_a_killed_one(user: Any) -> None:
    for _ in range(3):
        archived(user)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        purge_all(progress=interrupt)
    row = TaskRun.objects.get(pk="purge")
    assert (row.outcome, row.error, row.did["chats"], row.totals["chats"]) == ("failed", "interrupted (Ctrl-C)", 2, 2)
    assert not last_runs(["purge"])["purge"].interrupted, "it was not killed"
    assert not is_under_way("purge")


def test_a_lock_that_another_session_holds_is_not_thought_to_be_released() -> None:
    with capture_logs() as logs, exclusive_run("purge"):
        pass
    assert [log for log in logs if log["event"] == "task.lock_not_released"] == []
    with capture_logs() as logs, exclusive_run("purge"):
        connection.close()  # as a pooler does that gives each transaction a session of its own
    assert [log for log in logs if log["event"] == "task.lock_not_released"] == [
        {"event": "task.lock_not_released", "log_level": "warning", "task": "purge"}
    ]


def test_a_run_that_was_killed_is_seen_as_such() -> None:
    TaskRun.objects.create(task="purge", outcome="running", started_at=NOW)
    assert last_runs(["purge"])["purge"].interrupted


def test_counters_rise_by_what_was_done(user: Any) -> None:
    def counted() -> tuple[float, float]:
        return chat_metrics.ARCHIVED._value.get(), chat_metrics.PURGED.labels("chats")._value.get()

    before = counted()
    old(user, State.W, State.W)
    archived(user, State.XW, State.XW, State.XW)
    archive()
    purge_all()
    assert (counted()[0] - before[0], counted()[1] - before[1]) == (2, 3)


def test_a_scrape_says_when_the_last_runs_were_and_what_all_of_them_did(user: Any, client: Any) -> None:
    archived(user, State.XW, State.XW)
    purge_all()
    said = client.get("/metrics").content.decode()
    assert 'chatd_task_done_total{task="purge",what="chats"} 2.0' in said
    assert 'chatd_task_last_run_seconds{task="purge"} ' in said
    assert 'chatd_task_last_run_timestamp_seconds{task="purge"} ' in said


def test_a_tick_that_the_database_refuses_is_skipped(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    [chat_id] = archived(user)
    RetentionPolicy.objects.create(retention_days=1)
    last_changed([chat_id], datetime(2020, 1, 1, tzinfo=UTC))
    with monkeypatch.context() as patch:
        patch.setattr(batch, "outdated", refused)
        perform("purge")
    assert left() == {chat_id}
    assert TaskRun.objects.get(pk="purge").outcome == "failed"
    perform("purge")
    assert left() == set()


@pytest.mark.parametrize(
    ("task", "run", "what"), [("archive_inactive_chats", archive_inactive_chats, "families"), ("purge", purge, "chats")]
)
def test_a_run_that_beat_started_ends_at_its_limit(
    task: str, run: Any, what: str, user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.__kwdefaults__["limit"] == PER_RUN
    monkeypatch.setitem(run.__kwdefaults__, "limit", 2)
    settings.CHATD_AUTO_ARCHIVE_DAYS = settings.CHATD_RETENTION_DAYS = 1
    for _ in range(3):
        old(user, State.W)
        archived(user)
    for did in (2, 1):
        perform(task)
        assert TaskRun.objects.get(pk=task).did[what] == did


@pytest.mark.parametrize("task", ["archive_inactive_chats", "purge"])
def test_a_policy_that_cannot_be_read_costs_one_tick_and_says_so(task: str, user: Any, settings: Any) -> None:
    settings.CHATD_AUTO_ARCHIVE_DAYS = settings.CHATD_RETENTION_DAYS = 1
    old(user, State.W)
    archived(user)

    def unreadable(execute: Any, sql: str, *rest: Any) -> Any:
        return execute(sql.replace(RetentionPolicy._meta.db_table, "no_such_table"), *rest)

    before = photograph()
    with connection.execute_wrapper(unreadable), capture_logs() as logs:
        perform(task)
    assert [(log["event"], log["log_level"], log["task"]) for log in logs] == [("retention.failed", "warning", task)]
    assert "no_such_table" in logs[0]["error"]
    assert photograph() == before
    assert not is_under_way(task)
    perform(task)
    assert TaskRun.objects.get(pk=task).did["chats"] == 1


# --- policy -------------------------------------------------------------------------------------------------------


def test_the_policy_of_the_admin_counts_before_the_settings(settings: Any) -> None:
    settings.CHATD_AUTO_ARCHIVE_DAYS, settings.CHATD_RETENTION_DAYS, settings.CHATD_ARCHIVE_DIGEST = 90, 365, True
    assert current_policy() == Policy(90, 365, True)
    row = RetentionPolicy.objects.create(auto_archive_days=0, archive_digest=False)
    assert current_policy() == Policy(0, 365, False)
    RetentionPolicy.objects.filter(pk=row.pk).update(auto_archive_days=None, retention_days=7)
    assert current_policy() == Policy(90, 7, False)


def test_there_is_one_policy_and_no_negative_day() -> None:
    with pytest.raises(IntegrityError, match="there_is_one_retention_policy"):
        RetentionPolicy.objects.create(id=2)
    with pytest.raises(IntegrityError):
        RetentionPolicy.objects.create(retention_days=-1)


def test_a_run_goes_by_the_policy_and_by_the_clock_of_the_database(user: Any, settings: Any) -> None:
    settings.CHATD_AUTO_ARCHIVE_DAYS = 3
    today = datetime.now(UTC)
    [due], [not_due] = (
        old(user, State.W, at=today - timedelta(days=5)),
        old(user, State.W, at=today - timedelta(days=2)),
    )
    perform("archive_inactive_chats")
    assert (state(due), state(not_due)) == ("XW", "W")


# --- digest -------------------------------------------------------------------------------------------------------


def titled(owner: Any, titles: list[str]) -> None:
    for i, title in enumerate(titles):
        [chat_id] = old(owner, State.W)
        Chat.objects.filter(pk=chat_id).update(title=title)
        last_changed([chat_id], BEFORE - timedelta(days=len(titles) - i))


def test_each_owner_gets_one_mail_with_at_most_25_titles(
    user: Any, other_user: Any, django_user_model: Any, mailoutbox: list[Any]
) -> None:
    django_user_model.objects.filter(pk=user.pk).update(email="ann@example.org")
    django_user_model.objects.filter(pk=other_user.pk).update(email="ben@example.org")
    titled(user, [f"chat {i}" for i in range(30)])
    titled(other_user, ["only\none"])
    assert archive(send_digest=True)["digests"] == 2
    hers, his = sorted(mailoutbox, key=lambda sent: sent.to)
    assert (hers.to, hers.subject) == (["ann@example.org"], "30 chats were archived")
    assert [line for line in hers.body.splitlines() if line.startswith("  ")] == [
        *(f"  - chat {i}" for i in range(25)), "  and 5 more",
    ]  # fmt: skip
    assert (his.to, his.subject) == (["ben@example.org"], "One chat was archived")
    assert "  - only one\n" in his.body
    assert "20 April 2020" in his.body


def test_no_mail_goes_out_unless_the_policy_says_so(user: Any, django_user_model: Any, mailoutbox: list[Any]) -> None:
    django_user_model.objects.filter(pk=user.pk).update(email="ann@example.org")
    old(user, State.W)
    assert archive()["digests"] == 0
    assert mailoutbox == []


def test_who_has_no_address_or_is_gone_gets_none(user: Any, other_user: Any, django_user_model: Any) -> None:
    django_user_model.objects.filter(pk=other_user.pk).update(email="ben@example.org", is_active=False)
    old(user, State.W)
    old(other_user, State.W)
    assert archive(send_digest=True) == {"chats": 2, "families": 2, "skipped": 0, "digests": 0}


def test_a_mail_that_cannot_be_sent_costs_the_others_nothing(
    user: Any, other_user: Any, django_user_model: Any, mailoutbox: list[Any]
) -> None:
    django_user_model.objects.filter(pk=user.pk).update(email="ann\n@example.org")  # no header takes that
    django_user_model.objects.filter(pk=other_user.pk).update(email="ben@example.org")
    [hers], [his] = old(user, State.W), old(other_user, State.W)
    assert archive(send_digest=True)["digests"] == 1
    assert [sent.to for sent in mailoutbox] == [["ben@example.org"]]
    assert (state(hers), state(his)) == ("XW", "XW")


def test_a_mail_server_that_is_away_costs_the_run_nothing(user: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend", "127.0.0.1", 9,
    )  # fmt: skip
    [chat_id] = old(user, State.W)
    assert archive(send_digest=True) == {"chats": 1, "families": 1, "skipped": 0, "digests": 0}
    assert state(chat_id) == "XW"
    assert TaskRun.objects.get(pk="archive_inactive_chats").outcome == "done"


def test_the_pause_after_a_batch_grows_with_the_batch(user: Any) -> None:
    for _ in range(5):
        old(user, State.W)
    waited: list[float] = []
    archive(pace=Pace(batch=2, pause=1000.0, wait=waited.append))
    assert len(waited) == 2, "after each batch but the last"
    assert min(waited) > 0.1
    assert partial(archive)()["chats"] == 0
