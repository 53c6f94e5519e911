"""`./dev chaos --mutations`: each guard removed once, in a copy of the tree; the suite must notice.

For each mutation of `table.py` its patch is applied to the copy, its tests run there, and the patch is taken
back. Red, by a test that failed and not by one that could not be collected, is good; green means that nobody would
notice if the guard went missing. First all these tests run unchanged and must be green. Exit code 0 if all is well.

The copy has the working tree's files as they are, committed or not, and servers of its own under a temporary folder.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config import embedded
from devtools.chaos.mutations.table import MUTATIONS, Mutation
from devtools.project import PYTHON, ROOT

COPIED = ("chat", "chatworker", "config", "demomodel", "devtools", "tests", "docs", "manage.py", "pyproject.toml")
TEST_LASTS = 60
"""Seconds after which a test counts as red: without a guard, some wait for ever."""
RUN_LASTS = 300
BASELINE_LASTS = 1800
PASSED, FAILED = 0, 1
"""pytest's exit codes for "all passed" and "some failed"; all others mean that it could not tell."""


class DoesNotApply(Exception):
    """The text that a patch replaces is not there exactly once: the table is older than the code."""


@dataclass(frozen=True)
class Verdict:
    mutation: Mutation
    caught_by: str
    """The test that failed first; empty if none did."""
    seconds: float
    trouble: str = ""
    """Why there is no verdict."""

    @property
    def is_well(self) -> bool:
        return bool(self.caught_by) and not self.trouble


def main(arguments: Sequence[str] = ()) -> int:
    options = _parse(arguments)
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.guard]
    if not chosen:
        print(f"dev: no guard's name contains {options.only!r}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="chatd-mutations-") as folder:
        tree = copy_tree(Path(folder) / "tree")
        data_dir = Path(folder) / "data"
        try:
            embedded.ensure_running(data_dir)
            return _run(chosen, tree, data_dir, with_baseline=not options.without_baseline)
        except DoesNotApply as error:
            print(f"dev: {error}", file=sys.stderr)
            return 1
        finally:
            embedded.stop(data_dir)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev chaos --mutations", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutations", action="store_true", required=True)
    parser.add_argument("--only", default="", metavar="WORDS", help="only guards whose name contains this")
    parser.add_argument("--without-baseline", action="store_true", help="do not run the unchanged tests first")
    return parser.parse_args(arguments)


def _run(chosen: Sequence[Mutation], tree: Path, data_dir: Path, *, with_baseline: bool) -> int:
    for mutation in chosen:
        applied(mutation, tree)  # all of them, before anything takes time
    if with_baseline:
        print("dev: the tests, unchanged", flush=True)
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        code, red = run_tests(tests, tree, data_dir, lasts=BASELINE_LASTS)
        if code != PASSED:
            print(f"dev: they are red without any mutation: {red or f'pytest ended with {code}'}", file=sys.stderr)
            return 1
    verdicts = []
    for mutation in chosen:
        verdicts.append(judge(mutation, tree, data_dir))
        print(line(verdicts[-1]), flush=True)
    missed = [verdict for verdict in verdicts if not verdict.is_well]
    print(f"dev: {len(verdicts) - len(missed)} of {len(verdicts)} guards are missed when they are gone", flush=True)
    return 1 if missed else 0


def copy_tree(tree: Path) -> Path:
    tree.mkdir()
    forgotten = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=forgotten)
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


def applied(mutation: Mutation, tree: Path) -> str:
    """The mutated text of its file. Raises `DoesNotApply`."""
    text = (tree / mutation.file).read_text()
    for old, new in mutation.patches:
        if (times := text.count(old)) != 1:
            raise DoesNotApply(f"{mutation.guard}: {mutation.file} has {old!r} {times} times, not once")
        text = text.replace(old, new)
    return text


def judge(mutation: Mutation, tree: Path, data_dir: Path) -> Verdict:
    file = tree / mutation.file
    original, began = file.read_text(), time.monotonic()
    file.write_text(applied(mutation, tree))
    try:
        code, red = run_tests(mutation.tests, tree, data_dir, lasts=RUN_LASTS)
    finally:
        file.write_text(original)
    trouble = "" if code in (PASSED, FAILED) else f"pytest ended with {code}"
    return Verdict(mutation, red, time.monotonic() - began, trouble)


def run_tests(tests: Sequence[str], tree: Path, data_dir: Path, *, lasts: float) -> tuple[int, str]:
    """pytest's exit code, and the first test that failed."""
    options = ["-q", "-x", "-rf", "-p", "no:cacheprovider", "--reuse-db", "-o", f"timeout={TEST_LASTS}", "--tb=no"]
    ours = {"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [PYTHON, "-m", "pytest", *options, *tests],
            cwd=tree, env={**os.environ, **ours}, capture_output=True, text=True, timeout=lasts, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAILED, f"{tests[0]} (not over after {lasts:g} s)"
    found = re.search(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.M)
    if done.returncode == FAILED and found is None and "Timeout" in done.stdout + done.stderr:
        return FAILED, f"{tests[0]} (not over after {TEST_LASTS} s)"
    return done.returncode, found[1] if found else ""


def line(verdict: Verdict) -> str:
    """A row of the table: guard, what noticed, how long it took."""
    noticed = verdict.trouble or verdict.caught_by.rpartition("::")[2] or "NOBODY NOTICES"
    return f"| {verdict.mutation.guard:<58} | {noticed} | {verdict.seconds:.0f} s |"
