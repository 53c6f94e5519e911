"""What a check says: how bad it is, what it is, and what to do next. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"
    """Not checked, because something that it needs is a problem already."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`figures`: what was measured, for programs."""

    level: Level
    says: str
    todo: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def ok(says: str, **figures: Any) -> Finding:
    return Finding(Level.OK, says, figures=figures)


def warning(says: str, todo: str, **figures: Any) -> Finding:
    return Finding(Level.WARNING, says, todo, figures)


def problem(says: str, todo: str, **figures: Any) -> Finding:
    return Finding(Level.PROBLEM, says, todo, figures)


class NoAnswer(Exception):
    """What was to be checked does not answer: a problem, and nothing that needs it is worth a try."""

    def __init__(self, says: str, todo: str) -> None:
        self.says, self.todo = says, todo
        super().__init__(says)


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
