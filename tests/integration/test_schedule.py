"""Beat: entries that keep in step with the code and leave an operator's changes alone; runs planned from their end."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chat.models import ScheduleDefault, TaskRun
from chat.task_runs import exclusive_run, last_runs, noted_tick
from chatworker import schedule
from chatworker.planner import Planner
from chatworker.schedule import Entry, ensure_schedule, entries
from config.celery import app
from tests.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)

TASKS_OF_THE_DESIGN = {
    "heartbeat": 5, "sync_runners": 10, "acquire_waiting_chats": 1, "reap_stale_leases": 10,
    "cancel_expired_actions": 1, "archive_inactive_chats": 600, "purge": 600, "finalize_stale_debug_runs": 60,
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> None:
    PeriodicTask.objects.all().delete()
    ScheduleDefault.objects.all().delete()
    ensure_schedule()


def interval(every: int, period: str = IntervalSchedule.SECONDS) -> IntervalSchedule:
    return IntervalSchedule.objects.get_or_create(every=every, period=period)[0]


def every(name: str) -> float:
    entry = PeriodicTask.objects.select_related("interval").get(name=name)
    return float(entry.interval.schedule.run_every.total_seconds())


def released(monkeypatch: pytest.MonkeyPatch, *changed: Entry, without: str = "") -> None:
    """The next release, with these entries instead of today's."""
    names = {entry.name for entry in changed} | {without}
    kept = [entry for entry in entries(heartbeat_every=5) if entry.name not in names]
    monkeypatch.setattr(schedule, "entries", lambda heartbeat_every: [*kept, *changed])
    ensure_schedule()


# --- entries ------------------------------------------------------------------------------------------------------


def test_every_task_of_the_design_has_its_entry_on_the_maintenance_queue() -> None:
    found = {entry.name: entry for entry in PeriodicTask.objects.select_related("interval")}
    assert {name: every(name) for name in found} == TASKS_OF_THE_DESIGN
    assert {entry.queue for entry in found.values()} == {"maintenance"}
    assert {entry.task for entry in found.values()} <= set(app.tasks) | {f"chatworker.{name}" for name in found}


def test_a_second_migrate_changes_nothing() -> None:
    before = list(PeriodicTask.objects.order_by("name").values())
    ensure_schedule()
    assert list(PeriodicTask.objects.order_by("name").values()) == before


def test_what_an_operator_changed_stays_and_the_rest_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    PeriodicTask.objects.filter(name="purge").update(interval=interval(3600), enabled=False)
    PeriodicTask.objects.filter(name="sync_runners").update(queue="mine")
    released(
        monkeypatch, Entry("chatworker.purge", 300, "new words"), Entry("chatworker.sync_runners", 20, "other words")
    )
    purge = PeriodicTask.objects.get(name="purge")
    assert (every("purge"), purge.enabled, purge.description) == (3600, False, "new words")
    assert (every("sync_runners"), PeriodicTask.objects.get(name="sync_runners").queue) == (20, "mine")


def test_what_an_operator_changed_stays_over_many_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    PeriodicTask.objects.filter(name="purge").update(interval=interval(3600))
    for seconds in (300, 200, 600):
        released(monkeypatch, Entry("chatworker.purge", seconds, "words"))
        assert every("purge") == 3600


def test_another_interval_of_heartbeats_is_taken_over(settings: Any) -> None:
    settings.CHATD_HEARTBEAT_INTERVAL = 2.5
    ensure_schedule()
    assert every("heartbeat") == 2.5


def test_an_entry_from_before_notes_were_kept_is_left_as_it_is() -> None:
    ScheduleDefault.objects.all().delete()
    PeriodicTask.objects.filter(name="purge").update(interval=interval(7))
    ensure_schedule()
    assert every("purge") == 7


def test_an_entry_that_was_deleted_is_made_again() -> None:
    PeriodicTask.objects.filter(name="purge").delete()
    ensure_schedule()
    assert every("purge") == 600


@pytest.mark.parametrize(("changed", "stays"), [({}, False), ({"enabled": False}, True), ({"queue": "mine"}, True)])
def test_an_entry_that_the_code_gave_up_goes_unless_an_operator_changed_it(
    changed: dict[str, Any], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if changed:
        PeriodicTask.objects.filter(name="purge").update(**changed)
    released(monkeypatch, without="purge")
    assert PeriodicTask.objects.filter(name="purge").exists() == stays


def test_entries_of_others_are_nobody_elses_business() -> None:
    PeriodicTask.objects.create(name="theirs", task="other.task", interval=interval(9))
    ensure_schedule()
    assert PeriodicTask.objects.filter(name="theirs").exists()


def test_the_migration_makes_the_schedule_with_the_models_of_its_time() -> None:
    PeriodicTask.objects.all().delete()
    ScheduleDefault.objects.all().delete()
    states = MigrationExecutor(connection).loader
    migration = states.get_migration("chatworker", "0001_schedule")
    apps = states.project_state(("chatworker", "0001_schedule")).apps
    with connection.schema_editor() as editor:
        migration.operations[0].code(apps, editor)
    assert {entry.name: every(entry.name) for entry in PeriodicTask.objects.all()} == TASKS_OF_THE_DESIGN
    made = list(PeriodicTask.objects.order_by("name").values())
    ensure_schedule()
    assert list(PeriodicTask.objects.order_by("name").values()) == made


def test_a_second_interval_of_the_same_length_troubles_no_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    IntervalSchedule.objects.create(every=600, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name="purge").delete()
    ensure_schedule()
    assert every("purge") == 600
    assert IntervalSchedule.objects.filter(every=600).count() == 2, "none was added"


def test_a_migration_to_before_there_were_notes_leaves_the_schedule_alone() -> None:
    before = list(PeriodicTask.objects.order_by("name").values())
    past = MigrationExecutor(connection).loader.project_state(("chat", "0004_workers_and_waiting")).apps
    ensure_schedule(apps=past)
    assert list(PeriodicTask.objects.order_by("name").values()) == before


# --- planned from the end -----------------------------------------------------------------------------------------


class Watched(Planner):
    """Sends nothing, and remembers what it would have sent."""

    producer = None

    def __init__(self) -> None:
        self.sent: list[str] = []
        super().__init__(app=app)

    def apply_async(self, entry: Any, **_: Any) -> None:
        self.sent.append(entry.name)

    def round(self) -> float:
        """Send what is due; the seconds until the next look."""
        self.sent.clear()
        while (wait := self.tick()) == 0:
            pass
        return float(wait)


@pytest.fixture
def beat() -> Iterator[Watched]:
    PeriodicTask.objects.exclude(name__in=["purge", "heartbeat"]).delete()
    PeriodicTask.objects.update(last_run_at=ago(3600))
    beat = Watched()
    yield beat
    beat._finalize.cancel()


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def ran(*, began: float, ended: float | None) -> None:
    """Seconds ago."""
    outcome = "done" if ended is not None else "running"
    finished_at = ago(ended) if ended is not None else None
    TaskRun.objects.create(task="purge", outcome=outcome, started_at=ago(began), finished_at=finished_at)


def purge_goes_in(beat: Watched) -> float:
    """Seconds until it is looked at again."""
    [at] = [event.time for event in beat._heap if event.entry.name == "purge"]
    return float(at) - datetime.now(UTC).timestamp()


def test_what_never_ran_is_sent(beat: Watched) -> None:
    beat.round()
    assert set(beat.sent) == {"purge", "heartbeat"}


def test_the_next_run_is_planned_from_the_end_of_the_last_one(beat: Watched) -> None:
    ran(began=3600, ended=180)  # it took an hour
    beat.round()
    assert beat.sent == ["heartbeat"]
    assert purge_goes_in(beat) == pytest.approx(600 - 180, abs=2)


def test_a_run_that_ended_an_interval_ago_is_followed_by_the_next(beat: Watched) -> None:
    ran(began=1000, ended=601)
    beat.round()
    assert set(beat.sent) == {"purge", "heartbeat"}
    beat.round()
    assert beat.sent == [], "it is not due twice"


def test_a_run_that_was_killed_counts_from_its_beginning(beat: Watched) -> None:
    ran(began=100, ended=None)
    beat.round()
    assert purge_goes_in(beat) == pytest.approx(500, abs=2)


def test_while_a_run_is_under_way_none_is_sent_and_the_others_go_on(beat: Watched) -> None:
    with exclusive_run("purge"), Threads() as others:
        others.start(beat.round)
    assert beat.sent == ["heartbeat"]
    assert purge_goes_in(beat) == pytest.approx(10, abs=2)


def test_an_interval_that_an_operator_changed_counts_from_the_end_too(beat: Watched) -> None:
    ran(began=200, ended=180)
    entry = PeriodicTask.objects.get(name="purge")
    entry.interval = interval(120)
    entry.save()
    beat.round()
    assert "purge" in beat.sent
    entry.interval = interval(3600)
    entry.save()
    PeriodicTask.objects.filter(pk=entry.pk).update(last_run_at=ago(7200))
    second = Watched()
    second.round()
    assert "purge" not in second.sent
    assert purge_goes_in(second) == pytest.approx(3600 - 180, abs=2)
    second._finalize.cancel()


def test_an_entry_that_an_operator_paused_is_not_sent(beat: Watched) -> None:
    entry = PeriodicTask.objects.get(name="purge")
    entry.enabled = False
    entry.save()
    beat.round()
    assert set(beat.sent) == {"heartbeat"}


def written_meanwhile(beat: Watched, write: Callable[[], object]) -> None:
    """Beat notes its runs; between its reading and its writing, an operator commits something."""
    done = False

    def first_the_operator(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal done
        if sql.startswith("UPDATE") and PeriodicTask._meta.db_table in sql and not done:
            done = True
            write()
        return execute(sql, *rest)

    beat.round()
    with connection.execute_wrapper(first_the_operator):
        beat.sync()
    assert done


def test_what_an_operator_commits_while_beat_notes_a_run_stays(beat: Watched) -> None:
    PeriodicTask.objects.filter(name="heartbeat").delete()
    other = interval(3600)
    written_meanwhile(
        beat, lambda: PeriodicTask.objects.filter(name="purge").update(enabled=False, interval=other, queue="mine")
    )
    purge = PeriodicTask.objects.get(name="purge")
    assert (purge.enabled, purge.interval, purge.queue) == (False, other, "mine")


def test_beat_notes_when_it_sent_a_task_and_how_often(beat: Watched) -> None:
    before = PeriodicTask.objects.get(name="purge")
    beat.round()
    beat.sync()
    after = PeriodicTask.objects.get(name="purge")
    assert after.total_run_count == before.total_run_count + 1
    assert (datetime.now(UTC) - after.last_run_at).total_seconds() < 30


def test_an_entry_that_was_paused_before_beat_notes_its_run_begins_anew_afterwards(beat: Watched) -> None:
    beat.round()
    entry = PeriodicTask.objects.get(name="purge")
    entry.enabled = False
    entry.save()
    beat.sync()
    paused = PeriodicTask.objects.get(name="purge")
    assert (paused.enabled, paused.last_run_at) == (False, None)


# --- how the last run went ----------------------------------------------------------------------------------------


def test_a_tick_leaves_a_note_of_when_how_long_and_what() -> None:
    with noted_tick("heartbeat") as did:
        did["workers"] = 3
    seen = last_runs(["heartbeat", "sync_runners"])["heartbeat"]
    assert (seen.did, seen.error) == ({"workers": 3}, "")
    assert seen.took is not None
    assert 0 <= seen.took < 5
    assert abs((datetime.now(UTC) - seen.at).total_seconds()) < 30


def test_a_tick_that_fails_says_so() -> None:
    with pytest.raises(ZeroDivisionError), noted_tick("heartbeat"):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in last_runs(["heartbeat"])["heartbeat"].error
