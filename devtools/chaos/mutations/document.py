"""The table of guards as a page of the documentation: docs/guards.md. Pure."""

from pathlib import PurePath

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table import MUTATIONS, TOPICS

HEAD = """# Guards

What keeps Chatd right when something goes wrong, and the tests that are red without it: {count} guards. `./dev chaos
--mutations` takes each away once and sees its tests fail ([the fault suite](chaos.md#guards-that-are-missed)). This
page is what `./dev chaos --mutations --markdown` prints; a test compares.
"""


def markdown() -> str:
    topics = [f"## {topic}\n\n{_table(guards)}" for topic, guards in TOPICS.items()]
    return "\n".join([HEAD.format(count=len(MUTATIONS)), *topics])


def _table(guards: tuple[Mutation, ...]) -> str:
    rows = [f"| {guard.guard} | `{guard.file}` | {_tests(guard)} |" for guard in guards]
    return "\n".join(["| guard | file | missed by |", "|---|---|---|", *rows, ""])


def _tests(guard: Mutation) -> str:
    return ", ".join(f"`{PurePath(file).name}{colons}{name}`" for file, colons, name in map(_parted, guard.tests))


def _parted(test: str) -> tuple[str, str, str]:
    return test.partition("::")
