"""A guard, the patch that removes it, and the tests that must then be red. Pure.

A patch is text that occurs exactly once in its file, and what takes its place: one that no longer applies is an error,
so that the table grows old loudly. The tests are pytest's arguments: few, because every mutation runs its own.
"""

from dataclasses import dataclass

SCHEMA = ("chat/models/", "chat/migrations/")


@dataclass(frozen=True)
class Mutation:
    guard: str
    """What is removed, in words."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[tuple[str, str], ...] = ()
    """More of the same patch: old and new."""

    @property
    def patches(self) -> tuple[tuple[str, str], ...]:
        return ((self.old, self.new), *self.also)

    @property
    def changes_the_schema(self) -> bool:
        """Whether it is seen in a database that was made with it only."""
        return self.file.startswith(SCHEMA)
