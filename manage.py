#!/usr/bin/env python
"""Django's command line; `./dev` prepares the environment it runs in."""

import os
import sys
from typing import NoReturn

NO_SUCH_TABLE = "42P01"
"""The code of Postgres; its message names the table."""
READER_LEFT, INTERRUPTED = 128 + 13, 128 + 2
"""Exit codes, as a shell has them for SIGPIPE and SIGINT."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here: use ./dev, or `.venv/bin/python manage.py …` after `./dev test`.")
    from django.db import OperationalError, ProgrammingError

    try:
        try:
            execute_from_command_line(sys.argv)
        finally:
            sys.stdout.flush()  # here it can be caught that nobody reads
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        sys.exit(READER_LEFT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ProgrammingError as error:
        if getattr(error.__cause__, "sqlstate", None) != NO_SUCH_TABLE:
            raise
        _give_up(error, "The database is not set up: `./dev up` does it, or `.venv/bin/python manage.py migrate`.")
    except OperationalError as error:
        _give_up(error, "Postgres does not answer, or not in time: is it up, and is DATABASE_URL right?")


def _give_up(error: Exception, what_to_do: str) -> NoReturn:
    sys.exit(f"{str(error).strip().splitlines()[0]}\n{what_to_do}")


if __name__ == "__main__":
    main()
