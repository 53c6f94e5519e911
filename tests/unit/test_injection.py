"""What a fault run asks for, read and refused: crash points, database faults, distorted hints."""

import gc
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from chat import hints
from chat.crash import DROPPABLE, POINTS, Chaos, CrashPoint, Rule, chaos_of, crash_point, rules_in
from devtools.chaos.injection import distortion
from devtools.chaos.injection.database_faults import KINDS, Dice, Rates, rates_in
from devtools.chaos.injection.distortion import Bad, bad_in
from devtools.chaos.injection.spec import Spec, tell

ROOT = Path(__file__).resolve().parents[2]


def sources() -> dict[Path, str]:
    return {path: path.read_text() for folder in ("chat", "chatworker") for path in (ROOT / folder).rglob("*.py")}


# --- the points --------------------------------------------------------------------------------------------------


def test_every_crash_point_of_the_source_is_listed_and_none_besides() -> None:
    own = ROOT / "chat" / "crash.py"
    found = {
        name
        for path, text in sources().items()
        if path != own
        for name in re.findall(r'\bcrash_point\(\s*"([^"]+)"\s*\)', text)
    }
    assert found == set(POINTS)


def test_every_use_of_a_crash_point_names_it_literally() -> None:
    uses = [use for text in sources().values() for use in re.findall(r"\bcrash_point\(([^)]*)\)", text)]
    assert {use for use in uses if not re.fullmatch(r'\s*"[a-z_.]+"\s*|name: str', use)} == set()


def test_only_publications_can_be_dropped_and_each_looks_whether_it_is() -> None:
    asking = {
        name for text in sources().values() for name in re.findall(r'if crash_point\("([^"]+)"\):\n\s+return\n', text)
    }
    assert asking == DROPPABLE


def test_a_crash_point_does_nothing_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.crash.armed", None)
    assert [crash_point(name) for name in POINTS] == [False] * len(POINTS)


# --- rules -------------------------------------------------------------------------------------------------------


def test_a_rule_names_role_point_action_hit_and_number() -> None:
    text = "chat-worker:door.locked=sleep:1.5@3*2; hint.before=drop*; acquire.after=exit"
    assert rules_in(text, role="chat-worker-1") == {
        "door.locked": Rule("door.locked", "sleep", 1.5, 3, 2, "chat-worker"),
        "hint.before": Rule("hint.before", "drop", 0, 1, None),
        "acquire.after": Rule("acquire.after", "exit", 0, 1, 1),
    }
    assert set(rules_in(text, role="web")) == {"hint.before", "acquire.after"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("door.locked", "not of the form"),
        ("door.locked=explode", "not of the form"),
        ("door.locked=sleep", "not of the form"),
        ("door.locked=exit@0", "not of the form"),
        ("door.unlocked=exit", "there is no crash point"),
        ("door.locked=drop", "nothing is published there"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rules_in(text, role="")


def test_an_action_strikes_at_every_nth_hit_as_often_as_told() -> None:
    chaos = Chaos(rules_in("hint.before=drop@2*2", role=""))
    assert [chaos.hit("hint.before") for _ in range(8)] == [False, True, False, True, False, False, False, False]


def test_a_raise_names_its_point() -> None:
    chaos = Chaos(rules_in("acquire.after=raise@2", role=""))
    assert not chaos.hit("acquire.after")
    with pytest.raises(CrashPoint, match=r"acquire\.after"):
        chaos.hit("acquire.after")


def test_with_a_directory_the_number_counts_all_processes_and_what_landed_is_written(tmp_path: Path) -> None:
    rules = rules_in("hint.before=drop*3; hint.after=note*", role="")
    landed = [Chaos(rules, tmp_path).hit("hint.before") for _ in range(5)]  # five lives of a process
    Chaos(rules, tmp_path).hit("hint.after")
    assert landed == [True, True, True, False, False]
    lines = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    assert [(line["fault"], line["point"], line["action"], line["pid"]) for line in lines] == [
        *[("crash_point", "hint.before", "drop", os.getpid())] * 3,
        ("crash_point", "hint.after", "note", os.getpid()),
    ]


# --- never by accident -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"CHATD_CRASH_POINTS": "acquire.after=exit"}, "Unset it"),
        ({"CHATD_CRASH_POINTS": "acquire.after=exit", "CHATD_CHAOS": "0"}, "Unset it"),
        ({"CHATD_CRASH_POINTS": "acquire.after=exit", "CHATD_CHAOS": "true"}, "Unset it"),
        ({"CHATD_CHAOS": "yes"}, "takes 1"),
        ({"CHATD_CRASH_POINTS": "nonsense", "CHATD_CHAOS": "1"}, "not of the form"),
    ],
)
def test_half_a_wish_for_chaos_refuses_the_start(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        chaos_of(environment)


def test_an_ordinary_environment_arms_nothing() -> None:
    assert chaos_of({}) is None
    assert chaos_of({"CHATD_CRASH_POINTS": "", "CHATD_CHAOS": "0"}) is None


@pytest.mark.parametrize("environment", [{"CHATD_CRASH_POINTS": "acquire.after=exit"}, {"CHATD_CHAOS": "yes"}])
def test_any_process_of_the_system_refuses_to_start(environment: dict[str, str]) -> None:
    """`django.setup()` is what web, workers, beat and manage.py have in common; no server is started by then."""
    program = "import django; django.setup()"
    ours = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=ours, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("chatd: CHATD_C")


def test_the_settings_of_a_fault_run_refuse_to_load_outside_of_one() -> None:
    program = "from django.conf import settings; settings.DATABASES"
    ours = {**os.environ, "DJANGO_SETTINGS_MODULE": "devtools.chaos.injection.settings"}
    ours.pop("CHATD_CHAOS", None)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=ours, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "breaks this system on purpose" in done.stderr


# --- database faults and hints -----------------------------------------------------------------------------------


def test_the_rates_of_database_faults_name_whom_they_hit() -> None:
    assert rates_in("chat-worker: seed=7; commit_ambiguous=0.5") == Rates("chat-worker", 7, {"commit_ambiguous": 0.5})
    assert rates_in("") == Rates()


@pytest.mark.parametrize("text", ["delay=0.1", ": delay=0.1", "web: delay=2", "web: explode=0.1", "web: delay"])
def test_rates_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rates_in(text)


def test_faults_strike_in_the_named_threads_alone_as_often_as_asked_and_repeatably() -> None:
    def drawn(thread: str) -> list[str | None]:
        text = "chat-worker: seed=3; commit_lost=0.1; commit_ambiguous=0.2"
        dice = Dice(Spec("none", lambda _: rates_in(text), {}))
        found: list[str | None] = []
        hitting = threading.Thread(target=lambda: found.extend(dice.draw(KINDS) for _ in range(2000)), name=thread)
        hitting.start()
        hitting.join()
        return found

    struck = drawn("chat-worker-db_0")
    assert struck == drawn("chat-worker-db_1"), "one seed, one sequence"
    assert 130 < struck.count("commit_lost") < 270
    assert 300 < struck.count("commit_ambiguous") < 500
    assert set(drawn("MainThread")) == {None}


def test_distortion_is_read_with_its_defaults() -> None:
    assert bad_in("drop=1; delay=0-500; kinds=hint,sweep; seed=2") == Bad(
        frozenset({"hint", "sweep"}), drop=1.0, delay=(0.0, 0.5), seed=2
    )
    assert bad_in("delay=20") == Bad(delay=(0.02, 0.02))


@pytest.mark.parametrize("text", ["drop=2", "drop", "kinds=rumour", "volume=11", "delay=soon"])
def test_distortion_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        bad_in(text)


def test_a_file_changes_what_is_asked_for_while_a_process_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devtools.chaos.injection.spec.LOOK_EVERY", 0)
    environment = {"CHATD_CHAOS_HINTS": "drop=1", "CHATD_CHAOS_DIR": str(tmp_path)}
    spec: Spec[Any] = Spec("hints", bad_in, environment)
    assert spec.current() == Bad(drop=1)
    tell(tmp_path, "hints", "double=0.5")
    assert spec.current() == Bad(double=0.5)
    tell(tmp_path, "hints", "")
    assert spec.current() == Bad()


def test_hints_stay_distorted_for_as_long_as_the_process_lives() -> None:
    before = hints.publish_update
    distortion.install()
    try:
        gc.collect()
        assert hints.publish_update is not before
    finally:
        distortion._until_the_end.close()
    assert hints.publish_update is before
