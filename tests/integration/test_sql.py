"""The door's own cursor behaves like Django's where it matters."""

import datetime
from typing import Any

import pytest
from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from chat.rows import sql

pytestmark = pytest.mark.django_db(transaction=True)


def ask(question: str) -> Any:
    with sql.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def test_errors_are_djangos() -> None:
    with pytest.raises(DataError):
        ask("SELECT 'ten'::text::integer")


def test_a_broken_transaction_is_refused_as_by_django() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError):
            ask("SELECT 1")


def test_a_lost_connection_is_made_anew_and_gets_a_cursor_of_its_own() -> None:
    before = ask("SELECT pg_backend_pid()")
    with pytest.raises((OperationalError, InterfaceError)):
        ask(f"SELECT pg_terminate_backend({before})")
    connection.close_if_unusable_or_obsolete()
    assert ask("SELECT pg_backend_pid()") != before


def test_times_are_those_of_django() -> None:
    question = "SELECT '2026-11-22 12:00:00+02'::timestamptz"
    with connection.cursor() as cursor:
        cursor.execute(question)
        djangos = cursor.fetchone()[0]
    assert ask(question) == djangos
    assert ask(question).utcoffset() == datetime.timedelta()
    assert ask(question).isoformat() == djangos.isoformat()


def test_who_listens_to_the_connection_hears_it() -> None:
    with CaptureQueriesContext(connection) as heard:
        ask("SELECT 17")
    assert [query["sql"] for query in heard] == ["SELECT 17"]
