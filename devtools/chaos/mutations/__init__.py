"""`./dev chaos --mutations`: each guard removed once, in a copy of the tree; the suite must notice.

For each mutation of `table/` its patch is applied to the copy, its tests run there, and the patch is taken back. Good
is only that one of them failed (`outcome.py`); green means that nobody would notice if the guard went missing. First
all these tests run unchanged and must be green. Exit code 0 if all is well.

The copy has the working tree's files as they are, committed or not, and servers of its own under a temporary folder.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config import embedded
from devtools.chaos.mutations.document import markdown
from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.outcome import Outcome, outcome, without_end
from devtools.chaos.mutations.table import MUTATIONS
from devtools.project import PYTHON, ROOT

COPIED = ("chat", "chatworker", "config", "demomodel", "devtools", "tests", "docs", "manage.py", "pyproject.toml")
TEST_LASTS = 60
"""Seconds after which a test fails that names no limit of its own: without a guard, some wait for ever."""
RUN_LASTS = 300
BASELINE_LASTS = 1800


class DoesNotApply(Exception):
    """The text that a patch replaces is not there exactly once: the table is older than the code."""


@dataclass(frozen=True)
class Verdict:
    mutation: Mutation
    outcome: Outcome
    seconds: float

    @property
    def is_well(self) -> bool:
        return bool(self.outcome.failed) and not self.outcome.trouble


def main(arguments: Sequence[str] = ()) -> int:
    options = _parse(arguments)
    if options.markdown:
        print(markdown(), end="")
        return 0
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
    parser.add_argument("--markdown", action="store_true", help="instead: print docs/guards.md")
    return parser.parse_args(arguments)


def _run(chosen: Sequence[Mutation], tree: Path, data_dir: Path, *, with_baseline: bool) -> int:
    for mutation in chosen:
        applied(mutation, tree)  # all of them, before anything takes time
    if with_baseline:
        print("dev: the tests, unchanged", flush=True)
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        unchanged = run_tests(tests, tree, data_dir, lasts=BASELINE_LASTS)
        if red := unchanged.failed or unchanged.trouble:
            print(f"dev: they are red without any mutation: {red}", file=sys.stderr)
            return 1
    verdicts = []
    changed_the_schema = False
    for mutation in chosen:
        anew = mutation.changes_the_schema or changed_the_schema
        verdicts.append(judge(mutation, tree, data_dir, anew=anew))
        changed_the_schema = mutation.changes_the_schema
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


def judge(mutation: Mutation, tree: Path, data_dir: Path, *, anew: bool) -> Verdict:
    """`anew`: with a database of its own making, because the schema is not what it was."""
    file = tree / mutation.file
    original, began = file.read_text(), time.monotonic()
    file.write_text(applied(mutation, tree))
    try:
        found = run_tests(mutation.tests, tree, data_dir, lasts=RUN_LASTS, anew=anew)
    finally:
        file.write_text(original)
    return Verdict(mutation, found, time.monotonic() - began)


def run_tests(tests: Sequence[str], tree: Path, data_dir: Path, *, lasts: float, anew: bool = False) -> Outcome:
    """What pytest says about these tests; it stops at the first that is red."""
    options = ["-q", "-x", "-rfE", "-p", "no:cacheprovider", "--reuse-db", "-o", f"timeout={TEST_LASTS}", "--tb=no"]
    if anew:
        options += ["--create-db", "--ds", "devtools.chaos.mutations.schema_settings"]
    ours = {"CHATD_DATA_DIR": str(data_dir), "DATABASE_URL": "", "REDIS_URL": "", "PYTHONDONTWRITEBYTECODE": "1"}
    wide = {"COLUMNS": "1000"}  # pytest cuts its lines to the terminal's width
    try:
        done = subprocess.run(
            [PYTHON, "-m", "pytest", *options, *tests],
            cwd=tree, env={**os.environ, **ours, **wide}, capture_output=True, text=True, timeout=lasts, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return without_end(lasts)
    return outcome(done.returncode, done.stdout, tests)


def line(verdict: Verdict) -> str:
    """A row of the table: guard, what noticed, how long it took."""
    found = verdict.outcome
    noticed = found.trouble or found.failed.rpartition("::")[2] or "NOBODY NOTICES"
    late = f" (not over after {found.not_over_after} s)" if found.not_over_after else ""
    return f"| {verdict.mutation.guard:<58} | {noticed}{late} | {verdict.seconds:.0f} s |"
