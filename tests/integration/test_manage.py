"""`manage.py` where the database is not set up, or not there: a sentence, no traceback."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.worker_processes import database_url

ROOT = Path(__file__).resolve().parents[2]


COMMANDS = [["chat", "Hello"], ["create_token", "admin"], ["archive_chats"], ["purge_chats"], ["reconcile_chats"]]


def manage(command: list[str], url: str) -> str:
    """What it says on standard error."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": url, "SECRET_KEY": "x" * 60}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_database_without_tables_is_said_in_a_sentence(command: list[str], db: None) -> None:
    url = database_url()
    what, then = manage(command, url.replace(urlsplit(url).path, "/postgres")).splitlines()
    assert "does not exist" in what
    assert then.startswith("The database is not set up: `./dev up`")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_database_that_is_away_is_said_in_a_sentence(command: list[str]) -> None:
    said = manage(command, "postgresql://nobody@127.0.0.1:9/chatd")
    assert "Connection refused" in said
    assert len(said.splitlines()) <= 3
