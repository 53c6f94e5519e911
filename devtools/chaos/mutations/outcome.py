"""What a run of pytest says about a guard, read off its report. Pure.

Only one thing says that a guard is missed: one of its own tests FAILED. That also holds for a test that did not end in
time and that pytest-timeout ended, but it is told apart, because such a test says less. An ERROR is of the set-up or of
the tear-down (no database, something left behind), and a run without an end is of nobody: both prove nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PASSED, FAILED = 0, 1
"""pytest's exit codes for "all passed" and "some failed"; all others mean that it could not tell."""
_RED = re.compile(r"^(FAILED|ERROR) (\S+?::.+?|\S+)(?: - (.*))?$", re.M)
_NOT_OVER = re.compile(r"^Failed: Timeout \(>([\d.]+)s\) from pytest-timeout")


@dataclass(frozen=True)
class Outcome:
    failed: str = ""
    """The first of the tests that failed; empty if none did."""
    not_over_after: str = ""
    """Its limit in seconds, if it failed because it did not end within that time."""
    trouble: str = ""
    """Why there is no verdict."""


def outcome(code: int, report: str, tests: Sequence[str]) -> Outcome:
    """`report`: with a line for each that is red (`-rfE`), not cut; `tests`: those that pytest was given."""
    if code not in (PASSED, FAILED):
        return Outcome(trouble=f"pytest ended with {code}")
    red = _RED.findall(report)
    for kind, test, why in red:
        if kind == "FAILED" and any(_is_of(test, named) for named in tests):
            late = _NOT_OVER.match(why)
            return Outcome(failed=test, not_over_after=f"{float(late[1]):g}" if late else "")
    for kind, test, why in red:
        return Outcome(trouble=f"{kind} without a failed test of its own: {test} - {why}".removesuffix(" - "))
    return Outcome(trouble="" if code == PASSED else "pytest says that something is red, and not what")


def without_end(seconds: float) -> Outcome:
    return Outcome(trouble=f"the run was not over after {seconds:g} s, and no test's own limit ended it")


def _is_of(test: str, named: str) -> bool:
    return test == named or test.startswith((f"{named}::", f"{named}["))
