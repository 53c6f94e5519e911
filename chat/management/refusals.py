"""What a database says to a command, as a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, ProgrammingError


@contextmanager
def database_refusals() -> Iterator[None]:
    """A database that is away or says no ends a command with a sentence; that tables are missing, `manage.py` says."""
    try:
        yield
    except ProgrammingError:
        raise
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(f"The database refused it: {str(error).strip().splitlines()[0]}") from None
