"""What the doctor makes of what it sees: every judgement that needs no server, the order of the checks, the page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from chat.doctor import beat, configuration, redis_server, workers
from chat.doctor.examination import CHECKS, Check, examine
from chat.doctor.finding import Finding, Level, NoAnswer, ok, problem, warning
from chat.doctor.site import Look, Site
from chat.fleet import Fleet, WorkerSeen
from chat.management.commands import chat_doctor as command
from tests.surroundings import Screen, Watched, levels, look, only

ROOT = Path(__file__).resolve().parents[2]
OK, WARNING, PROBLEM, SKIPPED = Level
TICK, RUN = "chatworker.heartbeat", "chatworker.run_chat"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "embedded", "debug", "expected"),
    [
        ("of a laptop", True, False, [OK]),
        ("of a laptop", False, False, [PROBLEM]),
        ("of a laptop", False, True, [WARNING, WARNING]),
        ("long" * 12, False, False, [OK]),
        ("long" * 12, False, True, [OK, WARNING]),
        ("long" * 12, True, True, [OK]),
        ("short", False, False, [WARNING]),
    ],
)
def test_a_key_that_others_could_have_is_told(
    site: Site, settings: Any, key: str, embedded: bool, debug: bool, expected: list[Level]
) -> None:
    settings.CHATD_EMBEDDED_POSTGRES, settings.DEBUG = embedded, debug
    settings.SECRET_KEY = configuration.laptops_key() if key == "of a laptop" else key
    assert levels(configuration.secret_key(site)) == expected


@pytest.mark.parametrize(
    ("total", "per_owner", "expected"),
    [(0, 0, [OK]), (5, 2, [OK]), (5, 5, [OK]), (0, 2, [OK]), (5, 6, [WARNING, OK])],
)
@pytest.mark.parametrize("kind", ["CHATS", "SUB_AGENTS"])
def test_limits_that_contradict_each_other_are_told(
    site: Site, settings: Any, kind: str, total: int, per_owner: int, expected: list[Level]
) -> None:
    setattr(settings, f"CHATD_MAX_{kind}", total)
    setattr(settings, f"CHATD_MAX_{kind}_PER_OWNER", per_owner)
    assert levels(configuration.limits_agree(site)) == expected


# --- Redis, beat, workers ----------------------------------------------------------------------------------------

SOUND = {
    "redis_version": "7.4.1",
    "maxmemory": 100,
    "used_memory": 10,
    "maxmemory_policy": "noeviction",
    "role": "master",
}


@pytest.mark.parametrize(
    ("change", "expected", "word"),
    [
        ({}, [OK], "7.4.1 answers"),
        ({"redis_version": "6.2.14"}, [OK], ""),
        ({"redis_version": "6.0.16"}, [WARNING], "6.0.16 is older"),
        ({"maxmemory_policy": "allkeys-lru"}, [WARNING], "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl"}, [WARNING], "volatile-ttl"),
        ({"used_memory": 95}, [WARNING], "95%"),
        ({"used_memory": 95, "maxmemory": 0}, [OK], ""),
        ({"role": "slave"}, [PROBLEM], "replica"),
        ({"role": "slave", "maxmemory_policy": "allkeys-lru"}, [PROBLEM, WARNING], "replica"),
    ],
)
def test_a_redis_that_forgets_or_refuses_is_told(change: dict[str, Any], expected: list[Level], word: str) -> None:
    found = list(redis_server.judged(SOUND | change))
    assert levels(found) == expected
    assert word in found[0].says


@pytest.mark.parametrize(
    ("before", "after", "ticks"),
    [
        (look({"m": {TICK: 4}}), look({"m": {TICK: 4}}), 0),
        (look({"m": {TICK: 4}}), look({"m": {TICK: 6}}), 2),
        (look({"m": {}}), look({"m": {TICK: 1}}), 1),
        (look({"m": {RUN: 1}}), look({"m": {RUN: 9}}), 0),  # people tick too
        (look({"m": {"celery.ping": 1}}), look({"m": {"celery.ping": 2}}), 0),
        (look({"m": {TICK: 9}}), look({"m": {TICK: 1}}), 0),  # started anew
        (look({"m": {TICK: 9}, "n": {TICK: 1}}), look({"m": {TICK: 1}, "n": {TICK: 2}}), 1),
        (look(), look({"m": {TICK: 1}}), 1),
        (look(backlog=3), look(backlog=5), 2),  # nobody receives them
        (look(backlog=9), look({"m": {}}, backlog=1), 0),
    ],
)
def test_ticks_are_what_was_received_or_piles_up(before: Look, after: Look, ticks: int) -> None:
    assert beat.ticks_between(before, after) == ticks


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (look({"m@x": {}}), OK, "m@x answers; nothing waits"),
        (look({"m@x": {}}, backlog=100), OK, "100 waits"),
        (look({"m@x": {}}, backlog=101), WARNING, "101 ticks wait"),
        (look(backlog=7), PROBLEM, "7 ticks wait"),
    ],
)
def test_a_maintenance_worker_that_is_missing_or_late_is_told(seen: Look, expected: Level, words: str) -> None:
    finding = only(beat.maintenance_worker(Watched(seen)))
    assert finding.level is expected
    assert words in finding.says


def worker(*, slots: int = 4, is_alive: bool = True, draining: bool = False) -> WorkerSeen:
    return WorkerSeen(uuid4(), "box", 4711, slots, 0, is_alive, draining)


@pytest.mark.parametrize(
    ("fleet", "expected", "words"),
    [
        (Fleet((worker(), worker()), taken=3), [OK], "2 alive; 3 of 8 slots are taken."),
        (Fleet((worker(),), taken=4), [WARNING], "1 alive; 4 of 4 slots are taken."),
        (Fleet((worker(slots=9), worker(is_alive=False)), taken=0), [OK], "1 alive, 1 dead; 0 of 9"),
        (Fleet((worker(slots=9), worker(draining=True)), taken=0), [OK], "1 alive, 1 told to stop; 0 of 9"),
        (Fleet((), taken=0), [PROBLEM], "No chat worker is alive that takes chats:"),
        (Fleet((worker(is_alive=False),), taken=0), [PROBLEM], "takes chats, 1 dead:"),
        (Fleet((worker(draining=True),), taken=0), [PROBLEM], "takes chats, 1 told to stop:"),
        (Fleet((worker(is_alive=False),), taken=2), [PROBLEM, WARNING], "takes chats, 1 dead:"),
    ],
)
def test_workers_are_told_by_what_they_can_take(fleet: Fleet, expected: list[Level], words: str) -> None:
    found = list(workers.judged(fleet))
    assert levels(found) == expected
    assert words in found[0].says


@pytest.mark.parametrize(("limit", "expected"), [(8, OK), (9, WARNING)])
def test_limits_that_the_workers_cannot_reach_are_told(settings: Any, limit: int, expected: Level) -> None:
    settings.CHATD_MAX_CHATS, settings.CHATD_MAX_SUB_AGENTS = limit - 2, 2
    finding = only(workers.judged(Fleet((worker(), worker()), taken=0)))
    assert finding.level is expected


# --- each check fails by itself ----------------------------------------------------------------------------------


def raises(error: Exception) -> Any:
    def check(site: Site) -> Iterator[Finding]:
        yield ok("so far")
        raise error

    return check


def test_a_check_that_breaks_is_a_problem_and_the_others_go_on(site: Site) -> None:
    checks = [Check("one", raises(KeyError("x"))), Check("two", lambda _: [ok("fine")])]
    found = list(examine(site, checks))
    assert [(name, finding.level) for name, finding in found] == [("one", PROBLEM), ("two", OK)]
    assert found[0][1].says == "It could not be checked: KeyError: 'x'"


def test_what_needs_something_that_does_not_answer_is_skipped(site: Site) -> None:
    checks = [
        Check("Postgres", raises(NoAnswer("gone", "start it"))),
        Check("needs it", lambda _: [ok("fine")], ("Postgres",)),
        Check("needs that", lambda _: [ok("fine")], ("needs it", "Postgres")),
        Check("needs nothing", lambda _: [ok("fine")]),
    ]
    assert [finding.level for _, finding in examine(site, checks)] == [PROBLEM, SKIPPED, SKIPPED, OK]


def test_every_check_needs_what_comes_before_it() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.name
        seen.add(check.name)


# --- what it prints ----------------------------------------------------------------------------------------------

FOUND = [
    ("settings", ok("Fine.")),
    ("Redis", warning("It forgets " + "quite a lot " * 12 + "\x1b[31m.", "Tell it not to.", policy="allkeys-lru")),
    ("Postgres", problem("It does not answer.", "Start it.")),
    ("leases", Finding(SKIPPED, "not checked: Postgres does not answer.")),
]


def doctor(monkeypatch: pytest.MonkeyPatch, found: Any, *arguments: str, terminal: bool = False) -> tuple[int, str]:
    monkeypatch.setattr(command, "examine", lambda site: iter(found))
    screen = Screen(terminal=terminal)
    try:
        call_command("chat_doctor", *arguments, stdout=screen)
    except SystemExit as end:
        return int(end.code or 0), screen.text
    return 0, screen.text


def test_into_a_pipe_goes_one_line_for_each_finding_and_each_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = doctor(monkeypatch, [FOUND[0], FOUND[2], FOUND[3]])
    assert code == 1
    assert text.splitlines() == [
        "ok       settings       Fine.",
        "problem  Postgres       It does not answer.",
        "                        → Start it.",
        "skipped  leases         not checked: Postgres does not answer.",
        "",
        "1 problem, 0 warnings, 1 ok, 1 not checked.",
    ]


@pytest.mark.parametrize(("found", "code"), [(FOUND[:1], 0), (FOUND[:2], 0), (FOUND, 1), ([], 0)])
def test_only_problems_make_the_exit_code_1(monkeypatch: pytest.MonkeyPatch, found: Any, code: int) -> None:
    assert doctor(monkeypatch, found)[0] == code
    assert doctor(monkeypatch, found, "--json")[0] == code


def test_on_a_terminal_no_line_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, text = doctor(monkeypatch, FOUND, "--no-color", terminal=True)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_colours_are_asked_for_or_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)
    assert "\x1b[31;1mproblem\x1b[0m" in doctor(monkeypatch, FOUND, terminal=True)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in doctor(monkeypatch, FOUND, terminal=True)[1]
    assert "\x1b[31;1mproblem\x1b[0m" in doctor(monkeypatch, FOUND, "--force-color", terminal=True)[1]


def test_as_json_it_is_one_object_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(doctor(monkeypatch, FOUND, "--json")[1])
    assert {key: told[key] for key in ("ok", "problems", "warnings", "skipped")} == {
        "ok": False, "problems": 1, "warnings": 1, "skipped": 1,
    }  # fmt: skip
    assert told["checks"][1]["figures"] == {"policy": "allkeys-lru"}
    assert [one["level"] for one in told["checks"]] == ["ok", "warning", "problem", "skipped"]


def test_every_line_is_documented() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert [check.name for check in CHECKS if f"| {check.name} |" not in page] == []
