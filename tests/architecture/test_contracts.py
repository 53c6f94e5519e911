"""The structure holds: imports, sizes, names."""

import statistics
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("chat", "chatworker", "config", "demomodel", "devtools")
LONGEST, MEDIAN = 300, 120
BANNED = {"utils.py", "helpers.py", "common.py", "base.py", "misc.py", "services.py"}
NAMED_BY_DJANGO = ["devtools/chaos/injection/faulty_postgres/base.py"]
"""It looks for a database backend there."""


def sources(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts and "__pycache__" not in path.parts
    ]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_import_contracts_are_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_no_file_is_longer_than_a_few_screens() -> None:
    assert {str(path.relative_to(ROOT)): lines(path) for path in sources(*PACKAGES) if lines(path) > LONGEST} == {}


def test_most_files_are_short() -> None:
    assert statistics.median(lines(path) for path in sources(*PACKAGES)) < MEDIAN


def test_files_are_named_after_what_they_are_for() -> None:
    named = [str(path.relative_to(ROOT)) for path in sources(*PACKAGES, "tests") if path.name in BANNED]
    assert named == NAMED_BY_DJANGO


def test_every_file_begins_with_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if path.read_text().strip() and path.name != "apps.py" and not path.read_text().startswith('"""')
    ]
    assert silent == []
