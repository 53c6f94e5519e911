"""The table of guards is as old as the code, and of a run only a test that failed says that a guard is missed."""

from pathlib import Path

import pytest

from devtools.chaos.mutations import Verdict, line
from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.outcome import Outcome, outcome, without_end
from devtools.chaos.mutations.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
FILE = "tests/integration/test_door.py"
TEST = f"{FILE}::test_a_guard"
LATE = "Failed: Timeout (>60.0s) from pytest-timeout."
LEFT = "tests.leaks.LeftBehind: thread: pool_0"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_a_guard_can_be_removed_and_names_the_tests_that_miss_it(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    assert [text.count(old) for old, _ in mutation.patches] == [1] * len(mutation.patches)
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text()


def test_no_two_guards_have_one_name() -> None:
    assert len({mutation.guard for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("red", [TEST, f"{TEST}[one - two]", f"{TEST}[a b]"])
@pytest.mark.parametrize("named", [TEST, FILE])
def test_a_test_of_its_own_that_failed_misses_the_guard(red: str, named: str) -> None:
    found = outcome(1, f"=== short test summary info ===\nFAILED {red} - assert 1 == 2\n1 failed in 2 s", (named,))
    assert found.failed.startswith(TEST)
    assert (found.not_over_after, found.trouble) == ("", "")


def test_a_test_of_its_own_that_pytest_timeout_ended_misses_it_as_well_and_the_row_says_so() -> None:
    found = outcome(1, f"FAILED {TEST} - {LATE}\n", (TEST,))
    assert found == Outcome(failed=TEST, not_over_after="60")
    assert "| test_a_guard (not over after 60 s) |" in row(found)


def test_a_failed_test_that_also_left_something_behind_has_failed() -> None:
    report = f"ERROR {TEST} - {LEFT}\nFAILED {TEST} - assert 1 == 2\n"
    assert outcome(1, report, (TEST,)) == Outcome(failed=TEST)


@pytest.mark.parametrize(
    ("code", "report"),
    [
        (1, f"ERROR {TEST} - {LEFT}\n"),
        (1, f"ERROR {TEST} - django.db.utils.OperationalError: no database\n"),
        (1, f"ERROR {TEST} - {LATE}\n"),
        (1, f"ERROR {TEST}\n"),
        (2, f"ERROR {FILE} - ImportError: cannot import name\n"),
        (1, f"FAILED {TEST}_of_another_name - assert 1 == 2\n"),
        (1, f"{LATE}\n"),
        (4, f"FAILED {TEST} - assert 1 == 2\n"),
        (-9, ""),
    ],
    ids=[
        "something was left behind", "no database", "a set-up that did not end", "an error without a word",
        "it could not be collected", "another test failed", "pytest-timeout ended nobody knows what", "no such test",
        "pytest was killed",
    ],
)  # fmt: skip
def test_nothing_else_that_is_red_says_anything_about_the_guard(code: int, report: str) -> None:
    found = outcome(code, report, (TEST,))
    assert found.trouble
    assert not found.failed
    assert not Verdict(MUTATIONS[0], found, 1.0).is_well
    assert found.trouble in row(found)


def test_neither_does_a_run_that_does_not_end() -> None:
    assert not Verdict(MUTATIONS[0], without_end(300), 300.0).is_well
    assert "300 s" in row(without_end(300))


def test_what_is_green_says_that_nobody_notices() -> None:
    found = outcome(0, "3 passed in 1 s", (TEST,))
    assert found == Outcome()
    assert not Verdict(MUTATIONS[0], found, 1.0).is_well
    assert "NOBODY NOTICES" in row(found)


def row(found: Outcome) -> str:
    return line(Verdict(MUTATIONS[0], found, 1.0))
