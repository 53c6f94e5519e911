"""`manage.py chat_doctor`: each check finds what it is for, fails by itself, and a healthy system gets a clean bill."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.models.functions import Now
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from chat.catalogue import register_model
from chat.doctor import beat, catalogue, chats, configuration, postgres, redis_server, schedule, schema, workers
from chat.doctor.examination import CHECKS, Check, examine
from chat.doctor.finding import Finding, Level, ok
from chat.doctor.site import Look, Site
from chat.execution import State
from chat.fleet import read_fleet
from chat.models import ChatModel, ModelProvider, RunnerLease
from chatworker.queues import CHATS_QUEUE, MAINTENANCE_QUEUE
from chatworker.schedule import ensure_schedule
from chatworker.schedule import entries as scheduled
from chatworker.testing import wait_until
from tests.factories import INVALID_ROWS, VALID_STATES, chat_in
from tests.surroundings import Watched, age_heartbeats, alive, levels, look, only, pass_time
from tests.threads import LIMIT

ROOT = Path(__file__).resolve().parents[2]
NEWEST_MIGRATION = max(path.stem for path in (ROOT / "chat" / "migrations").glob("0*.py"))
pytestmark = pytest.mark.django_db
real_transactions = pytest.mark.django_db(transaction=True)
OK, WARNING, PROBLEM, SKIPPED = Level
TICK = "chatworker.heartbeat"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def execute(sql: str, parameters: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


# --- settings ----------------------------------------------------------------------------------------------------


def test_what_the_system_checks_say_is_told_by_its_weight(site: Site, settings: Any) -> None:
    assert levels(configuration.settings_are_sound(site)) == [OK]
    settings.CHATD_LEASE_TTL, settings.CELERY_TASK_ACKS_LATE = 6, True
    found = {finding.figures["id"]: finding for finding in configuration.settings_are_sound(site)}
    assert {id: finding.level for id, finding in found.items()} == {"chatd.E001": PROBLEM, "chatd.W003": WARNING}
    assert all(finding.todo for finding in found.values())


def test_the_key_of_a_laptop_is_what_the_settings_derive() -> None:
    code = "from chat.doctor.configuration import *; print(laptops_key() == settings.SECRET_KEY)"
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {code}"],
        cwd=ROOT,
        env={**os.environ, "SECRET_KEY": "", "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "True", done.stderr


# --- Postgres ----------------------------------------------------------------------------------------------------


def test_a_sound_database_is_told_with_its_version(site: Site) -> None:
    finding = only(postgres.server(site))
    assert finding.level is OK
    assert finding.figures["version"].split()[0] in finding.says
    for check in (postgres.durability, postgres.session_limits, postgres.clocks, schema.migrations, schema.triggers):
        assert levels(check(site)) == [OK], check


@pytest.mark.parametrize(
    ("check", "spoil", "expected", "word"),
    [
        (postgres.server, "SET LOCAL default_transaction_read_only = on", PROBLEM, "read-only"),
        (postgres.durability, "SET LOCAL synchronous_commit = off", PROBLEM, "synchronous_commit is off"),
        (postgres.durability, "ALTER TABLE chat_runnerlease SET UNLOGGED", PROBLEM, "empties chat_runnerlease"),
        (postgres.session_limits, "SET LOCAL statement_timeout = 0", WARNING, "statement_timeout is off"),
        (postgres.session_limits, "SET LOCAL lock_timeout = 0", WARNING, "lock_timeout is off"),
        (
            postgres.session_limits,
            "SET LOCAL idle_in_transaction_session_timeout = 0",
            WARNING,
            "idle_in_transaction_session_timeout is off",
        ),
        (
            postgres.session_limits,
            "SET LOCAL client_connection_check_interval = 0",
            WARNING,
            "client_connection_check_interval is off",
        ),
        (
            schema.migrations,
            f"DELETE FROM django_migrations WHERE app = 'chat' AND name = '{NEWEST_MIGRATION}'",
            PROBLEM,
            f"1 are not applied: chat.{NEWEST_MIGRATION}",
        ),
        (
            schema.migrations,
            "INSERT INTO django_migrations (app, name, applied) VALUES ('chat', '9999_from_the_future', now())",
            WARNING,
            "chat.9999_from_the_future",
        ),
        (
            schema.triggers,
            "SET LOCAL session_replication_role = replica",
            PROBLEM,
            "session_replication_role is replica",
        ),
    ],
)
def test_a_database_that_is_not_sound_is_told(site: Site, check: Any, spoil: str, expected: Level, word: str) -> None:
    execute(spoil)
    finding = only(check(site))
    assert finding.level is expected
    assert word in finding.says
    assert finding.todo


@pytest.mark.parametrize(
    ("spoil", "how", "cure"),
    [
        ("DROP TRIGGER {0} ON chat_chat", "Missing", "pgtrigger install"),
        ("ALTER TABLE chat_chat DISABLE TRIGGER {0}", "Disabled", "pgtrigger enable"),
        ("COMMENT ON TRIGGER {0} ON chat_chat IS 'another'", "Not as in the models", "pgtrigger install"),
    ],
)
def test_a_trigger_that_does_not_guard_is_told_by_name(site: Site, spoil: str, how: str, cure: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(r"SELECT tgname FROM pg_trigger WHERE tgname LIKE 'pgtrigger\_chat\_versions%'")
        (name,) = cursor.fetchone()
    execute(spoil.format(name))
    finding = only(schema.triggers(site))
    assert finding.level is PROBLEM
    assert finding.says.startswith(f"{how}: chat_versions of chat_chat.")
    assert finding.todo == f"Run manage.py {cure}."


@pytest.mark.parametrize(
    ("off_by", "expected", "words"),
    [(0.0, OK, "agree"), (-0.9, OK, ""), (-3.0, WARNING, "behind"), (3.0, WARNING, "ahead of")],
)
def test_clocks_that_differ_are_told(off_by: float, expected: Level, words: str) -> None:
    finding = only(postgres.clocks(Site(wall=lambda: time.time() + off_by)))
    assert finding.level is expected
    assert words in finding.says


# --- Redis -------------------------------------------------------------------------------------------------------


def test_our_own_redis_is_sound(site: Site) -> None:
    assert levels(redis_server.server(site)) == [OK]


@contextmanager
def a_port(*, listens: bool) -> Iterator[int]:
    """Where nobody listens, or somebody who never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listens:
            listener.listen(16)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("listens", [False, True], ids=["refused", "silent"])
def test_a_redis_that_is_away_costs_its_own_check_only(settings: Any, site: Site, listens: bool) -> None:
    wanted = ("Redis", "maintenance", "beat", "wake-ups", "waiting chats")
    with a_port(listens=listens) as port:
        settings.CHATD_REDIS_URL = f"redis://127.0.0.1:{port}"
        began = time.monotonic()
        found = dict(examine(site, [one for one in CHECKS if one.name in wanted]))
        lasted = time.monotonic() - began
    assert {name: finding.level for name, finding in found.items()} == {
        "Redis": PROBLEM, "maintenance": SKIPPED, "beat": SKIPPED, "wake-ups": SKIPPED, "waiting chats": OK,
    }  # fmt: skip
    assert found["beat"].says == "not checked: Redis does not answer."
    assert "REDIS_URL" in found["Redis"].todo
    assert lasted < 10


# --- beat and its schedule ---------------------------------------------------------------------------------------


def test_what_is_expected_of_the_schedule_is_what_the_worker_makes() -> None:
    expected = {name: (known.every or 5, f"chatworker.{name}") for name, known in schedule.EXPECTED.items()}
    assert expected == {entry.name: (entry.every, entry.task) for entry in scheduled(heartbeat_every=5)}
    assert schedule.QUEUE == beat.QUEUE == MAINTENANCE_QUEUE
    assert workers.QUEUE == CHATS_QUEUE


@pytest.fixture
def entries(db: None) -> None:
    PeriodicTask.objects.all().delete()
    ensure_schedule()


def test_the_schedule_as_it_comes_is_sound(site: Site, entries: None) -> None:
    assert levels(schedule.entries(site)) == [OK]


def test_an_entry_that_runs_more_often_is_sound(site: Site, entries: None) -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=2, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.filter(name__in=["heartbeat", "reap_stale_leases"]).update(interval=every)
    assert levels(schedule.entries(site)) == [OK]


@pytest.mark.parametrize("name", schedule.EXPECTED)
def test_an_entry_that_is_missing_or_disabled_is_told_with_what_it_costs(site: Site, entries: None, name: str) -> None:
    expected = PROBLEM if name == "cancel_expired_actions" else WARNING
    PeriodicTask.objects.filter(name=name).update(enabled=False)
    disabled = only(schedule.entries(site))
    assert (disabled.level, disabled.says) == (expected, f"{name} is disabled: {schedule.EXPECTED[name].without}.")
    PeriodicTask.objects.filter(name=name).delete()
    missing = only(schedule.entries(site))
    assert (missing.level, missing.says) == (expected, f"{name} is missing: {schedule.EXPECTED[name].without}.")
    assert missing.todo == schedule.MAKE_IT
    ensure_schedule()
    assert levels(schedule.entries(site)) == [OK], "what it says to do helps"


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        ({"task": "chatworker.sync_runners"}, PROBLEM, "runs the task 'chatworker.sync_runners'"),
        ({"queue": None}, WARNING, "goes to the queue 'default'"),
        ({"queue": "chats"}, WARNING, "goes to the queue 'chats'"),
        ({"interval": (90, IntervalSchedule.SECONDS)}, WARNING, "runs every 90 s instead of every 5 s"),
        ({"interval": (2, IntervalSchedule.MINUTES)}, WARNING, "runs every 120 s instead of every 5 s"),
    ],
)
def test_an_entry_that_was_changed_is_told(
    site: Site, entries: None, change: dict[str, Any], expected: Level, words: str
) -> None:
    if "interval" in change:
        every, period = change["interval"]
        change = {"interval": IntervalSchedule.objects.get_or_create(every=every, period=period)[0]}
    PeriodicTask.objects.filter(name="heartbeat").update(**change)
    finding = only(schedule.entries(site))
    assert finding.level is expected
    assert finding.says.startswith(f"heartbeat {words}")


def test_a_heartbeat_that_lags_behind_its_setting_is_told(site: Site, entries: None, settings: Any) -> None:
    settings.CHATD_HEARTBEAT_INTERVAL = 2.5
    assert "every 5 s instead of every 2.5 s" in only(schedule.entries(site)).says


def test_beat_is_alive_as_soon_as_it_ticks(entries: None) -> None:
    silent = look({"m": {TICK: 7}})
    finding = only(beat.beat(Watched(silent, silent, silent, look({"m": {TICK: 8}}))))
    assert (finding.level, finding.figures["ticks"], finding.figures["seconds"]) == (OK, 1, 3)


def test_beat_that_does_not_tick_is_told_with_its_last_trace(entries: None) -> None:
    finding = only(beat.beat(Watched(look({"m": {TICK: 7}}))))
    assert (finding.level, finding.says) == (PROBLEM, "No tick in 5 s: lost wake-ups and late clients go unnoticed.")
    PeriodicTask.objects.filter(name="heartbeat").update(last_run_at=Now())
    finding = only(beat.beat(Watched(look({"m": {TICK: 7}}))))
    assert "The last run that it wrote down is 0." in finding.says
    assert finding.todo == "Start it: celery -A config beat"


def test_a_schedule_without_entries_is_told(entries: None) -> None:
    PeriodicTask.objects.update(enabled=False)
    assert levels(beat.beat(Watched(look()))) == [PROBLEM]


# --- chat workers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (look({"c@x": {}}), OK, "c@x answers; nothing waits"),
        (look({"c@x": {}}, wake_ups=500), OK, "500 waits"),
        (look({"c@x": {}}, wake_ups=501), WARNING, "501 wake-ups wait"),
        (
            look({"c@x": {}}, pool="celery.concurrency.prefork:TaskPool"),
            PROBLEM,
            "c@x has the pool celery.concurrency.pre",
        ),
        (look(wake_ups=3), SKIPPED, "not checked: there is no chat worker to take them; 3 wait."),
    ],
)
def test_wake_ups_that_reach_nobody_are_told(seen: Look, expected: Level, words: str) -> None:
    finding = only(workers.wake_ups(Watched(seen)))
    assert finding.level is expected
    assert finding.says.startswith(words) or words in finding.says


def test_a_worker_that_is_alive_but_does_not_answer_is_told() -> None:
    with alive(), alive(uuid4()):
        finding = only(workers.wake_ups(Watched(look({"c@x": {}}))))
        assert finding.says.startswith("1 of the 2 chat workers that are alive answer")
        assert levels(workers.wake_ups(Watched(look({"c@x": {}, "d@x": {}})))) == [OK]
        nobody = only(workers.wake_ups(Watched(look(wake_ups=3))))
    assert (nobody.level, nobody.says) == (PROBLEM, 'No worker answers that consumes "chats"; 3 wake-ups wait.')


def test_the_fleet_is_read_with_its_locks_and_its_leases(user: Any) -> None:
    chat_in(State.R0, user)
    chat_in(State.R0, user)
    with alive(slots=5), alive(uuid4(), slots=7, draining=True):
        fleet = read_fleet()
        assert [(one.slots, one.taken) for one in fleet.taking] == [(5, 2)]
        assert [one.slots for one in fleet.draining] == [7]
        assert (fleet.slots, fleet.taken, fleet.dead) == (5, 2, ())
    age_heartbeats(django_settings.CHATD_LEASE_TTL + 1)
    assert read_fleet().taken == 0


# --- chats -------------------------------------------------------------------------------------------------------


def test_where_nothing_is_wrong_there_is_nothing_to_tell(site: Site) -> None:
    for check in (chats.waiting_chats, chats.leases, chats.invalid_chats, chats.client_calls):
        assert only(check(site)).says == "None."


@pytest.mark.parametrize("state", [State.R0, State.R1, State.I0, State.I1])
@pytest.mark.parametrize(("age", "expected"), [(20, OK), (30, PROBLEM)])
def test_a_chat_that_nobody_takes_is_told_after_the_end_of_a_lease_and_five_seconds(
    site: Site, user: Any, state: State, age: float, expected: Level
) -> None:
    chat_id = chat_in(state, user, owned=False)
    pass_time(chat_id, "waiting_since", age)
    with alive():
        finding = only(chats.waiting_chats(site))
    assert finding.level is expected
    assert finding.figures["oldest_seconds"] == pytest.approx(age, abs=3)
    assert (f"explain_chat {chat_id}" in finding.todo) is (expected is PROBLEM)


@pytest.mark.parametrize(
    ("age", "expected"), [(2, "None."), (22, "1 chat, for 2"), (30, "1 chat that nobody has taken")]
)
def test_a_chat_that_its_worker_left_is_told(site: Site, user: Any, age: float, expected: str) -> None:
    chat_in(State.R0, user)
    age_heartbeats(age)
    with alive(uuid4()):
        assert only(chats.waiting_chats(site)).says.startswith(expected)


def test_a_chat_whose_lease_is_gone_is_told_by_its_last_change(site: Site, user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    RunnerLease.objects.all().delete()
    with alive(uuid4()):
        assert levels(chats.waiting_chats(site)) == [OK]
        pass_time(chat_id, "updated_at", 30)
        assert levels(chats.waiting_chats(site)) == [PROBLEM]


def test_waiting_in_line_for_capacity_is_no_problem_but_told(site: Site, user: Any, settings: Any) -> None:
    settings.CHATD_MAX_CHATS_PER_OWNER = 1
    chat_in(State.R0, user)
    chat_id = chat_in(State.R0, user, owned=False)
    pass_time(chat_id, "waiting_since", 600)
    with alive(slots=8):
        finding = only(chats.waiting_chats(site))
    assert (finding.level, finding.says) == (WARNING, f"1 chat in line for capacity, the oldest for 10 min: {chat_id}.")


def test_waiting_for_a_free_slot_is_no_problem_either(site: Site, user: Any) -> None:
    chat_in(State.R0, user)
    chat_id = chat_in(State.R0, user, owned=False)
    pass_time(chat_id, "waiting_since", 600)
    with alive(slots=1):
        assert "in line for capacity" in only(chats.waiting_chats(site)).says


def test_the_head_of_the_line_is_overdue_where_a_slot_is_free(site: Site, user: Any, settings: Any) -> None:
    settings.CHATD_MAX_CHATS = 1
    first, second = (chat_in(State.R0, user, owned=False) for _ in range(2))
    pass_time(first, "waiting_since", 600)
    pass_time(second, "waiting_since", 500)
    with alive(slots=8):
        overdue, in_line = chats.waiting_chats(site)
    assert (overdue.level, overdue.figures["oldest"]) == (PROBLEM, str(first))
    assert (in_line.level, in_line.figures["oldest"]) == (WARNING, str(second))


def test_chats_without_any_worker_are_a_problem_at_once(site: Site, user: Any) -> None:
    chat_in(State.R0, user, owned=False)
    finding = only(chats.waiting_chats(site))
    assert finding.level is PROBLEM
    assert finding.says.startswith("1 chat and no worker to take them")


@pytest.mark.parametrize("state", [State.W, State.E1, State.A1, State.XE0, State.INVALID])
def test_a_chat_that_is_not_runnable_waits_for_no_worker(site: Site, user: Any, state: State) -> None:
    chat_id = chat_in(state, user, owned=False)
    pass_time(chat_id, "updated_at", 600)
    assert only(chats.waiting_chats(site)).says == "None."


@pytest.mark.parametrize(("age", "expected"), [(2, OK), (45, OK), (55, WARNING)])
def test_a_lease_that_nobody_deletes_is_told(site: Site, user: Any, age: float, expected: Level) -> None:
    chat_in(State.W, user)
    age_heartbeats(age)
    finding = only(chats.leases(site))
    assert finding.level is expected
    assert (finding.figures["leases"], finding.figures["expired"]) == (1, int(age > 20))


@pytest.mark.parametrize("name", INVALID_ROWS)
def test_an_invalid_chat_is_told(site: Site, user: Any, name: str) -> None:
    status, archived, queued = INVALID_ROWS[name]
    chat_id = chat_in(State.INVALID, user, row=(status, archived), queued=queued, owned=False)
    finding = only(chats.invalid_chats(site))
    assert (finding.level, finding.figures["chats"]) == (PROBLEM, [str(chat_id)])
    assert f"explain_chat {chat_id}" in finding.todo


def test_valid_chats_are_not_told_as_invalid(site: Site, user: Any) -> None:
    for state in VALID_STATES:
        chat_in(state, user, owned=False)
    assert levels(chats.invalid_chats(site)) == [OK]


@pytest.mark.parametrize(("age", "expected"), [(-60, OK), (3, OK), (8, PROBLEM)])
def test_a_client_that_is_waited_for_too_long_is_told(site: Site, user: Any, age: float, expected: Level) -> None:
    chat_id = chat_in(State.A0, user, owned=False)
    pass_time(chat_id, "requires_action_deadline_at", age)
    finding = only(chats.client_calls(site))
    assert (finding.level, finding.figures["waiting"]) == (expected, 1)
    assert (str(chat_id) in finding.says) is (expected is PROBLEM)


# --- models ------------------------------------------------------------------------------------------------------


def test_a_catalogue_with_a_default_and_readable_keys_is_sound(site: Site, db: None) -> None:
    register_model("openai:gpt-5", api_key="sk-1", default=True)
    finding = only(catalogue.models(site))
    assert (finding.level, finding.says) == (OK, "1 enabled, openai:gpt-5 is the default; every key can be read.")
    assert "sk-1" not in str(finding)


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda: ChatModel.objects.update(is_default=False), [PROBLEM], "No model is the default"),
        (lambda: ChatModel.objects.filter(is_default=True).update(enabled=False), [PROBLEM], "The default model"),
        (lambda: ModelProvider.objects.filter(name="openai").update(enabled=False), [PROBLEM], "The provider of the"),
        (lambda: ModelProvider.objects.filter(name="openai").update(encrypted_key="x"), [PROBLEM], "The key of openai"),
        (lambda: ModelProvider.objects.filter(name="openai").update(encrypted_key=""), [PROBLEM], "openai has no key"),
        (lambda: ModelProvider.objects.filter(name="google").update(encrypted_key="x"), [WARNING], "The key of google"),
        (lambda: ModelProvider.objects.filter(name="google").update(enabled=False), [OK], "1 enabled"),
    ],
)
def test_a_catalogue_that_refuses_chats_is_told(
    site: Site, db: None, change: Any, expected: list[Level], words: str
) -> None:
    register_model("openai:gpt-5", api_key="sk-1", default=True)
    register_model("google:gemini", api_key="sk-2")
    change()
    found = list(catalogue.models(site))
    assert levels(found) == expected
    assert found[0].says.startswith(words)


def test_a_changed_secret_key_is_told_by_the_keys_that_it_locks_away(site: Site, db: None, settings: Any) -> None:
    register_model("openai:gpt-5", api_key="sk-1", default=True)
    settings.SECRET_KEY = "another" * 8
    assert "SECRET_KEY changed" in only(catalogue.models(site)).says


# --- each check fails by itself ----------------------------------------------------------------------------------


@real_transactions
def test_a_database_that_hangs_is_cut_off_and_asked_no_more(site: Site) -> None:
    def hang(site: Site) -> list[Finding]:
        execute("SELECT pg_sleep(60)")
        return [ok("it woke up")]

    checks = [
        Check("hangs", hang, ()),
        Check("next", lambda _: [ok("fine")], ("Postgres",)),
        Check("last", lambda _: [ok("")]),
    ]
    began = time.monotonic()
    found = list(examine(site, checks, limit=0.2))
    assert time.monotonic() - began < 8, "less than the statement's own time-out"
    assert [finding.level for _, finding in found] == [PROBLEM, SKIPPED, OK]
    assert "OperationalError" in found[0][1].says
    assert levels(postgres.server(site)) == [OK], "and a new connection works"


@real_transactions
def test_a_statement_that_fails_costs_its_own_check_only(site: Site) -> None:
    def wrong(site: Site) -> list[Finding]:
        execute("SELECT nothing FROM nowhere")
        return []

    found = list(
        examine(site, [Check("wrong", wrong), Check("Postgres", postgres.server), Check("x", postgres.clocks)])
    )
    assert [finding.level for _, finding in found] == [PROBLEM, OK, OK]


# --- real processes ----------------------------------------------------------------------------------------------


def test_with_every_server_down_it_says_so_and_ends(tmp_path: Path) -> None:
    """A Postgres that accepts and never answers, a Redis that refuses."""
    with a_port(listens=True) as silent, a_port(listens=False) as closed:
        done = subprocess.run(
            [sys.executable, "manage.py", "chat_doctor", "--json"],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{silent}/none",
                "REDIS_URL": f"redis://127.0.0.1:{closed}",
                "SECRET_KEY": "of a test " * 5,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    by_level = {level: {one["check"] for one in told["checks"] if one["level"] == level} for level in Level}
    assert by_level[PROBLEM] == {"Postgres", "Redis"}
    assert by_level[SKIPPED] == {check.name for check in CHECKS if check.needs}
    assert by_level[WARNING] == set()


@contextmanager
def celery(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A real Celery process on the test's database, ready when it says so; killed in the end."""
    at = connection.settings_dict
    where = {
        "DATABASE_URL": f"postgresql://{at['USER']}:{quote(at['PASSWORD'] or '', safe='')}@:{at['PORT']}/{at['NAME']}"
        f"?host={quote(at['HOST'], safe='')}",
        "REDIS_URL": django_settings.CHATD_REDIS_URL,
        "SECRET_KEY": django_settings.SECRET_KEY,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "config", "--quiet", *arguments],
        cwd=ROOT,
        env={**os.environ, **where},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait(LIMIT)
        assert process.stderr is not None
        process.stderr.close()


def wait_until_ready(process: subprocess.Popen[str]) -> threading.Thread:
    """Read what the process says until it is ready; the thread reads on, so that it never waits for a reader."""
    assert process.stderr is not None
    ready = threading.Event()
    said: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        with suppress(ValueError):  # closed
            for line in process.stderr:
                said.append(line)
                if "ready." in line:
                    ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert ready.wait(LIMIT), "".join(said[-20:])
    return reader


@real_transactions
def test_a_whole_system_gets_a_clean_bill_and_a_killed_one_does_not(site: Site, user: Any) -> None:
    register_model("demo:demo", base_url="http://127.0.0.1:9/v1", default=True)
    ensure_schedule()
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    with (
        celery("beat", "--pidfile=") as ticker,
        celery("worker", "-n", "all@test", "-Q", "chats,maintenance", "-c", "2", *quiet) as both,
    ):
        reader = wait_until_ready(both)
        wait_until_alive(1)
        wait_until(PeriodicTask.objects.exclude(last_run_at=None).exists, bool, timeout=LIMIT)
        found = list(examine(site))
        assert [(name, one.says) for name, one in found if one.level is not OK] == []
        by_name = dict(found)
        assert by_name["chat workers"].figures["slots"] == 2
        assert by_name["beat"].figures["ticks"] > 0

        both.kill()
        both.wait(LIMIT)
        reader.join(LIMIT)
        wait_until_alive(0)
        with closing(Site()) as later:
            told = {name: finding.level for name, finding in examine(later)}
        wrong = {"maintenance": PROBLEM, "chat workers": PROBLEM, "wake-ups": SKIPPED}
        assert {name: level for name, level in told.items() if level is not OK} == wrong, (
            "beat ticks on, into the queue"
        )

        ticker.kill()
        ticker.wait(LIMIT)
        minutes = itertools.count(step=60.0)
        with closing(Site(clock=lambda: next(minutes))) as later:
            assert levels(beat.beat(later)) == [PROBLEM]
    site.redis.delete("maintenance")


def wait_until_alive(number: int) -> None:
    wait_until(read_fleet, lambda fleet: len(fleet.taking) == number, timeout=LIMIT)
