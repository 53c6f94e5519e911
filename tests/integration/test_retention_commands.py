"""`archive_chats`, `purge_chats`, `reconcile_chats`: what they say, to people and programs, and leave alone."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction

from chat.execution import State
from chat.management.progress import Progress
from chat.models import Chat, RetentionPolicy, TaskRun
from chat.rows.clock import database_now
from chat.task_runs import exclusive_run, last_runs
from chat.update import chat_read
from tests.aging import last_changed
from tests.factories import INVALID_ROWS, chat_in, family_of, photograph
from tests.surroundings import Screen
from tests.threads import Threads
from tests.worker_processes import ROOT, database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def told(published: list[Any]) -> list[Any]:
    return published


def run(command: str, *arguments: str) -> str:
    screen = Screen()
    call_command(command, *arguments, stdout=screen, stderr=Screen())
    return screen.text


def report(command: str, *arguments: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(run(command, *arguments, "--json"))
    return said


@pytest.fixture
def old(user: Any) -> tuple[list[UUID], list[UUID]]:
    """A family that nobody has touched for 100 days, and one that has been archived for as long."""
    families = family_of(user, State.W, State.W), family_of(user, State.XW, State.XW)
    for family in families:
        Chat.objects.filter(pk__in=family).update(pin_order=0)
        last_changed(family, database_now() - timedelta(days=100))
    return families


BOTH = pytest.mark.parametrize("command", ["archive_chats", "purge_chats"])


@BOTH
def test_a_dry_run_counts_what_is_due_and_changes_nothing(command: str, old: Any) -> None:
    before = photograph()
    assert report(command, "--days", "99", "--dry-run").items() >= {
        "dry_run": True, "days": 99, "chats": 2, "families": 1,
    }.items()  # fmt: skip
    assert report(command, "--days", "101", "--dry-run")["chats"] == 0
    assert "2 chats in 1 family, without a change since" in run(command, "--days", "99", "--dry-run")
    assert photograph() == before


@BOTH
def test_without_days_it_says_why_nothing_happens(command: str, old: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHATD_AUTO_ARCHIVE_DAYS", "CHATD_RETENTION_DAYS"):
        monkeypatch.setattr(settings, name, 0)
    before = photograph()
    assert run(command).startswith("Nothing is ")
    assert report(command)["cutoff"] is None
    assert photograph() == before


def test_archive_chats_archives_and_purge_chats_deletes(old: Any) -> None:
    untouched, _ = old
    assert run("archive_chats", "--days", "99").startswith("Archived: 2 chats in 1 family, without a change since 2")
    assert run("purge_chats", "--days", "99").startswith("Deleted: 2 chats in 1 family, 4 messages, without a change")
    assert set(Chat.objects.values_list("pk", flat=True)) == set(untouched)
    assert {str(chat_read(chat_id).state) for chat_id in untouched} == {"XW"}
    assert report("archive_chats", "--days", "99")["chats"] == report("purge_chats", "--days", "99")["chats"] == 0


def test_they_go_by_the_policy_of_the_admin(old: Any) -> None:
    RetentionPolicy.objects.create(auto_archive_days=99, retention_days=99)
    assert (report("archive_chats")["chats"], report("purge_chats")["chats"]) == (2, 2)


def test_a_limit_is_kept(user: Any) -> None:
    for _ in range(3):
        chat_id = chat_in(State.W, user)
        Chat.objects.filter(pk=chat_id).update(pin_order=0)
        last_changed([chat_id], database_now() - timedelta(days=100))
    assert [report("archive_chats", "--days", "9", "--limit", "2")["chats"] for _ in range(2)] == [2, 1]


@pytest.mark.parametrize(("command", "what"), [("archive_chats", "families"), ("purge_chats", "chats")])
def test_help_and_dry_run_say_what_a_limit_counts(command: str, what: str, old: Any) -> None:
    assert f"at most so many {what} (all that are due)" in " ".join(as_a_process(command, "--help").stdout.split())
    said = run(command, "--days", "99", "--limit", "1", "--dry-run")
    assert "2 chats in 1 family, without a change since" in said
    assert said.endswith(f"One run with this limit takes at most 1 {what} of them.\n")


@pytest.mark.parametrize(("command", "task"), [("archive_chats", "archive_inactive_chats"), ("purge_chats", "purge")])
def test_while_another_run_is_under_way_nothing_is_done(command: str, task: str, old: Any) -> None:
    before = photograph()

    def refused() -> None:
        with pytest.raises(CommandError, match="Another run is under way"):
            run(command, "--days", "99")

    with exclusive_run(task), Threads() as others:
        others.start(refused)
    assert photograph() == before


@BOTH
@pytest.mark.parametrize("option", ["--days", "--limit"])
def test_a_negative_number_is_refused(command: str, option: str) -> None:
    with pytest.raises(CommandError, match=f"{option} is -1"):
        run(command, f"{option}=-1")


# --- reconcile ----------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(user: Any) -> list[UUID]:
    return [
        chat_in(State.INVALID, user, row=(status, archived), queued=queued)
        for status, archived, queued in INVALID_ROWS.values()
    ]


def test_every_invalid_chat_is_put_right_and_no_other_is_touched(broken: list[UUID], user: Any) -> None:
    valid = chat_in(State.R1, user)
    said = report("reconcile_chats")
    assert {one["chat_id"] for one in said["chats"]} == {str(chat_id) for chat_id in broken}
    assert {chat_read(chat_id).state for chat_id in broken} == {State.E0, State.E1}
    assert (chat_read(valid).state, chat_read(valid).chat.snapshot_version) == (State.R1, 7)
    assert run("reconcile_chats") == "All chats looked at are valid.\n"


def test_a_dry_run_of_reconcile_says_which_and_fails(broken: list[UUID]) -> None:
    before = photograph()
    screen = Screen()
    with pytest.raises(SystemExit, match="1"):
        call_command("reconcile_chats", "--dry-run", stdout=screen)
    assert all(str(chat_id) in screen.text for chat_id in broken)
    assert f"{len(broken)} chats would be put right." in screen.text
    assert photograph() == before


def test_only_the_chats_that_are_named_are_looked_at(broken: list[UUID]) -> None:
    assert [one["chat_id"] for one in report("reconcile_chats", str(broken[0]))["chats"]] == [str(broken[0])]
    assert chat_read(broken[1]).state is State.INVALID


def test_a_chat_that_is_not_there_is_told_and_fails(user: Any) -> None:
    with pytest.raises(SystemExit, match="1"):
        run("reconcile_chats", str(UUID(int=5)))
    with pytest.raises(CommandError, match="no chat id"):
        run("reconcile_chats", "nonsense")


def test_a_chat_that_somebody_holds_is_told_and_does_not_keep_the_others_from_being_put_right(
    broken: list[UUID],
) -> None:
    held, *others = sorted(broken)
    screen, complaints = Screen(), Screen()

    def reconcile() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        with pytest.raises(SystemExit, match="1"):
            call_command("reconcile_chats", "--json", stdout=screen, stderr=complaints)

    with transaction.atomic():
        Chat.objects.select_for_update().get(pk=held)
        with Threads() as threads:
            threads.start(reconcile)
    said = json.loads(screen.text)
    assert said["failed"] == [{"chat_id": str(held), "error": "held"}]
    assert [one["chat_id"] for one in said["chats"]] == [str(chat_id) for chat_id in others]
    assert f"Somebody holds chat {held}" in complaints.text
    assert chat_read(held).state is State.INVALID
    assert run("reconcile_chats") == f"{held}  Invalid → {chat_read(held).state}\n1 chat put right.\n"


def test_the_limits_of_statements_are_as_before_afterwards(old: Any) -> None:
    def limit() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    before = limit()
    run("archive_chats", "--days", "99", "--dry-run")
    run("reconcile_chats")
    assert limit() == before == "10s"


# --- progress -----------------------------------------------------------------------------------------------------


def test_progress_writes_over_one_line_on_a_terminal_and_leaves_it_clean() -> None:
    now = [0.0]
    screen = Screen(terminal=True)
    with Progress(screen, "chats made", total=1000, clock=lambda: now[0]) as progress:
        for _ in range(3):
            now[0] += 1.0
            progress.advance(100)
    assert "\n" not in screen.text
    assert "\r300 of 1,000 chats made (100/s)" in screen.text
    assert screen.text.endswith(" \r")


def test_progress_in_a_pipe_is_a_line_every_few_seconds() -> None:
    now = [0.0]
    lines: list[str] = []

    class Pipe(Screen):
        def write(self, msg: str = "", style_func: object = None, ending: str | None = None) -> None:
            lines.append(msg)

    with Progress(Pipe(), "chats made", clock=lambda: now[0]) as progress:
        for _ in range(12):
            now[0] += 1.0
            progress.advance(10)
    assert lines == ["50 chats made (10/s)", "100 chats made (10/s)"]


# --- killed -------------------------------------------------------------------------------------------------------


def as_a_process(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py` on the database of the tests."""
    ours = {
        "HOME": os.environ["HOME"],
        "PATH": os.environ["PATH"],
        "CHATD_DATA_DIR": str(settings.CHATD_DATA_DIR),
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.CHATD_REDIS_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env={**ours, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_purge_that_is_killed_half_way_frees_its_lock_and_is_finished_by_the_next(side: str, user: Any) -> None:
    with transaction.atomic():
        families = [family_of(user, State.XW, State.XW) for _ in range(130)]
    last_changed([chat_id for family in families for chat_id in family], database_now() - timedelta(days=100))
    killed = as_a_process(
        "purge_chats", "--days", "99", CHATD_CHAOS="1", CHATD_CRASH_POINTS=f"purge.commit.{side}=exit@2"
    )
    assert killed.returncode == 137
    left = set(Chat.objects.values_list("pk", flat=True))
    assert len(left) == (60 if side == "before" else 0), "batches are of a hundred families"
    assert all(set(family) <= left or not set(family) & left for family in families)
    seen = last_runs(["purge"])["purge"]
    assert (seen.interrupted, seen.did["families"]) == (True, 100), "what it said before it was killed"
    finished = as_a_process("purge_chats", "--days", "99", "--json")
    assert (finished.returncode, json.loads(finished.stdout)["chats"]) == (0, len(left))
    assert not Chat.objects.exists()
    row = TaskRun.objects.get(pk="purge")
    assert (row.outcome, row.runs) == ("done", 2)


def test_in_a_pipe_the_report_is_alone_on_standard_output(old: Any) -> None:
    done = as_a_process("archive_chats", "--days", "99", "--json")
    assert (done.returncode, json.loads(done.stdout)["chats"]) == (0, 2)
    refused = as_a_process("archive_chats", "--days", "nonsense")
    assert (refused.returncode, refused.stdout) == (2, "")
    help_text = as_a_process("purge_chats", "--help").stdout
    assert "Exit code: 0 done" in help_text
    assert "--dry-run" in help_text
