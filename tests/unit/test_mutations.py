"""The table of guards is as old as the code: each patch has its place, and each test that must turn red exists."""

from pathlib import Path

import pytest

from devtools.chaos.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.guard)
def test_a_guard_can_be_removed_and_names_the_tests_that_miss_it(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    assert [text.count(old) for old, _ in mutation.patches] == [1] * len(mutation.patches)
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text()
