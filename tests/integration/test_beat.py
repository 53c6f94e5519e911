"""Beat as a process of its own, on the database of the tests."""

import signal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django_celery_beat.models import PeriodicTask

from chatworker.testing import wait_until
from tests.worker_processes import beat_process, database_url

pytestmark = pytest.mark.django_db(transaction=True)
ENDS_WITHIN = 20.0
"""Seconds: it looks at its end once a second, but may just be starting on a busy machine."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_beat_told_to_end_in_the_middle_of_a_query_ends(number: signal.Signals, tmp_path: Path) -> None:
    table = PeriodicTask._meta.db_table
    with beat_process(tmp_path, database_url()) as beat:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table}")
            wait_until(lambda: _waiting_for(cursor, table), bool, timeout=60)
            beat.send(number)
        assert beat.wait(ENDS_WITHIN) == 0, beat.log()


def _waiting_for(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = %s::regclass AND NOT granted)", [table])
    return bool(cursor.fetchone()[0])
