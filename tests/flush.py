"""Empties the database after a test that committed, as Django does, in a quarter of the time.

Django truncates every table and then writes again what a migration writes (permissions, content types, the schedule).
Here only tables that hold rows are truncated, and what migrations wrote stays if the test left it as it was; if it did
not, Django does it all.
"""

from typing import Any

from django.core.management import call_command
from django.db import connection

WRITTEN_BY_MIGRATIONS = (
    "auth_permission",
    "django_content_type",
    "chat_scheduledefault",
    "django_celery_beat_crontabschedule",
    "django_celery_beat_intervalschedule",
    "django_celery_beat_periodictask",
    "django_celery_beat_periodictasks",
)
_as_migrated: str | None = None


def flush(_: Any = None) -> None:
    """For `TransactionTestCase._fixture_teardown`."""
    global _as_migrated
    if _as_migrated is None or _as_migrated != _what_migrations_wrote():
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)
        _as_migrated = _what_migrations_wrote()
        return
    with connection.cursor() as cursor:
        if filled := _filled(cursor):
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")


def _filled(cursor: Any) -> list[str]:
    tables = sorted(set(connection.introspection.django_table_names(only_existing=False)) - set(WRITTEN_BY_MIGRATIONS))
    cursor.execute("SELECT " + ", ".join(f"EXISTS (SELECT FROM {table})" for table in tables))
    return [table for table, has_rows in zip(tables, cursor.fetchone(), strict=True) if has_rows]


def _what_migrations_wrote() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT concat("
            + ", ".join(
                f"(SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {table} row)"
                for table in WRITTEN_BY_MIGRATIONS
            )
            + ")"
        )
        return str(cursor.fetchone()[0])
