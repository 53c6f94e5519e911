"""The cursor of the door's statements.

Django makes a cursor for every statement, copies its adapters and reads times in Python; that is a quarter of what a
short statement costs. Here each connection keeps one cursor of psycopg. Errors are Django's, a broken transaction is
refused as by Django, and where somebody listens to the connection (`execute_wrapper`, DEBUG) it is Django's cursor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection
from psycopg.pq import Format

_kept: "WeakKeyDictionary[psycopg.Connection[Any], psycopg.Cursor[Any]]" = WeakKeyDictionary()


@contextmanager
def cursor() -> Iterator[Any]:
    """For statements whose rows are read before the next one begins."""
    if connection.execute_wrappers or connection.queries_logged:
        with connection.cursor() as djangos:
            yield djangos
        return
    connection.validate_no_broken_transaction()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        yield _own(connection.connection)


def _own(raw: "psycopg.Connection[Any]") -> "psycopg.Cursor[Any]":
    own = _kept.get(raw)
    if own is None:
        own = _kept[raw] = raw.cursor()
        timestamptz = psycopg.adapters.types["timestamptz"].oid
        loader = psycopg.adapters.get_loader(timestamptz, Format.TEXT)
        assert loader is not None
        own.adapters.register_loader(timestamptz, loader)  # UTC too, because the session's time zone is
    return own
