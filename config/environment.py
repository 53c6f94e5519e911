"""Reads the environment. A wrong value stops the start with one line that names the variable and what it takes.

Knows nothing of Django; `config/settings.py` says which variables there are.
"""

import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import environ


class Environment:
    """Typed access to the variables of one process, with `.env` beside the project as a lower layer.

    In `.env` a comment has a line of its own: a password may hold a "#".
    """

    def __init__(self, dotenv: Path) -> None:
        self._env = environ.Env()
        if dotenv.is_file():
            self._env.read_env(dotenv)

    def text(self, name: str, default: str = "") -> str:
        """The value of `name`; set but empty counts as unset, so that compose files can pass variables on."""
        return self._env.str(name, default="") or default

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if value not in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
            refuse(name, value, "true or false")
        return value in ("1", "true", "yes", "on") if value else default

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        value = self.text(name)
        if not value:
            return default
        if not value.isdecimal() or int(value) < least:
            refuse(name, value, f"a whole number, at least {least}")
        return int(value)

    def seconds(self, name: str, default: float, *, more_than: float | None = None) -> float:
        """A duration in seconds; `more_than` None allows 0."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not (0 <= number < float("inf")) or (more_than is not None and number <= more_than):
            refuse(name, value, f"seconds, {'0 or more' if more_than is None else f'more than {more_than:g}'}")
        return number

    def url(self, name: str, schemes: tuple[str, ...]) -> str:
        value = self.text(name)
        if value and urlsplit(value).scheme not in schemes:
            refuse(name, urlsplit(value).scheme or value, f"a URL that begins with {' or '.join(schemes)}")
        return value

    def words(self, name: str, default: list[str]) -> list[str]:
        value = self.text(name)
        return [word.strip() for word in value.split(",") if word.strip()] if value else default


def refuse(name: str, value: str, takes: str) -> NoReturn:
    sys.exit(f"chatd: {name} is {value!r}, but it takes {takes}. Correct it in the environment or in .env.")
