"""`manage.py` where the database is not set up, or not there, nobody reads, or Ctrl-C came: no traceback. Tokens."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from chat.models import ApiToken
from chat.models.token import digest
from tests.surroundings import Screen
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


def environment() -> dict[str, str]:
    """As at a shell: what a command says is written when its buffer is full, or at the end."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**ours, "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/chatd", "SECRET_KEY": "x" * 60}


@pytest.mark.parametrize("command", ["chat_diagram", "version"], ids=["much to say", "little to say"])
def test_a_reader_of_a_pipe_that_left_ends_a_command_without_a_word(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_ends_a_command_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (130, False)


# --- tokens -------------------------------------------------------------------------------------------------------


def said(*arguments: str) -> str:
    screen = Screen()
    call_command("create_token", *arguments, stdout=screen)
    return screen.text


def test_a_dry_run_of_create_token_says_for_whom_and_makes_none(user: Any) -> None:
    assert said("ann", "--dry-run") == "Would make a token for ann.\n"
    assert json.loads(said("ann", "--dry-run", "--json")) == {"dry_run": True, "id": None, "user": "ann", "token": None}
    with pytest.raises(CommandError, match="no user 'nobody'"):
        said("nobody", "--dry-run")
    assert not ApiToken.objects.exists()


def test_create_token_prints_the_token_of_the_row_it_made(user: Any) -> None:
    made = json.loads(said("ann", "--json"))
    row = ApiToken.objects.get()
    assert (made["dry_run"], made["id"], made["user"], row.user) == (False, row.pk, "ann", user)
    assert digest(made["token"]) == row.digest
