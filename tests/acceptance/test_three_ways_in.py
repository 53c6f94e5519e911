"""The README from a fresh copy of the project: browse the admin, run each command, edit beat's schedule.

Commands are taken from the README as they are printed there; only the port differs, and an answer that a person would
watch for half a minute is shorter.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from chatworker.testing import wait_until
from devtools.ports import any_port
from tests.acceptance.browsing import Page, Visitor

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
NOT_IN_A_CLONE = shutil.ignore_patterns(".venv", ".data", ".git", "__pycache__", ".*_cache")
PATIENCE = 90.0
"""Seconds for one command."""

pytestmark = pytest.mark.timeout(300)


@dataclass
class Clone:
    folder: Path
    port: int

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """As typed into a shell in the project's folder."""
        return subprocess.run(
            ["bash", "-c", self.as_here(command)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip

    def start(self, command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            shlex.split(self.as_here(command)),
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder.parent), "PATH": os.environ["PATH"]}

    @cached_property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / ".data" / "credentials.json").read_text())
        return found

    def api(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1{path}",
            headers={"Authorization": f"Bearer {self.credentials['token']}"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def as_here(self, command: str) -> str:
        return command.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def pids(self) -> dict[str, int]:
        return {row["role"]: row["pid"] for row in json.loads(self.run("./dev status --json").stdout)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """The whole system, started as the tour says. What was installed is lent: `.ci/run` shows the installation."""
    folder = tmp_path_factory.mktemp("fresh") / "chatd"
    shutil.copytree(ROOT, folder, ignore=NOT_IN_A_CLONE)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    clone = Clone(folder, any_port())
    assert "`./dev up --workers 2`" in README
    up = clone.run(f"./dev up --workers 2 --detach --port {clone.port}")
    assert up.returncode == 0, up.stdout + up.stderr
    yield clone
    down = clone.run("./dev down")
    assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture(scope="module")
def admin(clone: Clone) -> Visitor:
    visitor = Visitor(f"http://127.0.0.1:{clone.port}")
    page = visitor.log_in(clone.credentials["username"], clone.credentials["password"])
    assert "Log out" in page.text
    return visitor


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def printed(words: str) -> str:
    """The line of the README with these words, without its comment."""
    lines = [line for block in blocks() for line in block.splitlines() if words in line]
    assert len(lines) == 1, f"the README has {len(lines)} lines with {words!r}"
    return lines[0].partition("  #")[0].strip()


# --- run each command ---------------------------------------------------------------------------------------------


def test_hello_is_answered(clone: Clone) -> None:
    done = clone.run(printed('chat "Hello"'))
    assert done.returncode == 0, done.stderr
    assert "Hello" in done.stdout


def test_the_demo_model_does_as_it_is_told(clone: Clone) -> None:
    done = clone.run(printed("[think let me see]"))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 50


def test_a_failing_model_is_asked_again_until_it_answers(clone: Clone) -> None:
    done = clone.run(printed("[fail 500 times 2]"))
    assert done.returncode == 0, done.stderr
    assert "at last" in done.stdout


def test_ctrl_c_keeps_what_was_written(clone: Clone) -> None:
    process = clone.start(printed('chat "[long 500]"'))
    assert process.stdout is not None
    first = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    newest = clone.api("/chats?limit=1")["items"][0]["id"]
    saved = clone.api(f"/chats/{newest}/messages")["items"][-1]
    assert saved["interrupted"]
    assert saved["parts"][0]["text"].startswith(first[:10].lstrip())


def test_an_answer_is_followed_over_http(clone: Clone) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    done = clone.run(next(block for block in blocks() if "curl" in block))
    assert done.returncode == 0, done.stderr
    assert "event: message_part" in done.stdout
    assert '"waiting"' in done.stdout


def test_a_killed_worker_costs_seconds_and_the_answer_is_there_once(clone: Clone) -> None:
    """The one that writes is one of two: both are killed."""
    process = clone.start(printed("[long 200]").replace("[long 200]", "[long 60]"))
    assert process.stdout is not None
    process.stdout.read(20)
    before = clone.pids()
    for role in ("chat-worker-1", "chat-worker-2"):
        os.kill(before[role], signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "again" in said
    newest = clone.api("/chats?limit=1")["items"][0]["id"]
    assert [message["role"] for message in clone.api(f"/chats/{newest}/messages")["items"]] == ["user", "assistant"]


COMMANDS = {
    "explain_chat": "explain_chat {chat}",
    "chat_doctor": "chat_doctor --json",
    "create_token": "create_token admin --name second --json",
    "add_model": "add_model other:one --base-url http://127.0.0.1:9/v1 --dry-run",
    "reconcile_chats": "reconcile_chats --dry-run --json",
    "archive_chats": "archive_chats --days 30 --dry-run --json",
    "purge_chats": "purge_chats --days 30 --dry-run --json",
    "seed_chats": "seed_chats --chats 20 --messages 60 --json",
    "chat": "chat --json Hello",
}
"""With what a person would add."""


def commands_of_the_table() -> list[str]:
    table = README.partition("| `.venv/bin/python manage.py …` |")[2].partition("\n\n")[0]
    firsts = [row.partition("|")[2].partition("|")[0] for row in table.splitlines()[2:]]
    return [words.split()[0] for first in firsts for words in re.findall(r"`([^`]+)`", first)]


def test_the_table_names_every_command_once() -> None:
    assert sorted(commands_of_the_table()) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_of_the_table_runs(clone: Clone, name: str) -> None:
    command = COMMANDS[name]
    if "{chat}" in command:
        said = clone.run(".venv/bin/python manage.py chat --json Hello")
        command = command.format(chat=json.loads(said.stdout.splitlines()[0])["chat_id"])
    done = clone.run(f".venv/bin/python manage.py {command}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if "--json" in command:
        assert [json.loads(line) for line in done.stdout.splitlines()]


def test_a_real_model_is_added_as_printed(clone: Clone) -> None:
    done = clone.run(printed("add_model openai:gpt-5").replace("--default", "--dry-run"))
    assert done.returncode == 0, done.stdout + done.stderr


# --- browse the admin ---------------------------------------------------------------------------------------------


def test_every_page_that_the_admins_start_page_leads_to_opens(admin: Visitor) -> None:
    start = admin.open("/admin/")
    assert start.status == 200
    lists = sorted({link for link in start.links if re.fullmatch(r"/admin/\w+/\w+/", link)})
    assert len(lists) >= 8
    for link in lists:
        page = admin.open(link)
        assert page.status == 200, link
        first = next((one for one in page.links if re.fullmatch(rf"{link}[^/?]+/change/.*", one)), None)
        if first is not None:
            assert admin.open(first).status == 200, first


# --- edit beat's schedule -----------------------------------------------------------------------------------------


def task(admin: Visitor, name: str) -> Page:
    tasks = admin.open(f"/admin/django_celery_beat/periodictask/?q={name}")
    link = next(one for one in tasks.links if re.search(r"/periodictask/\d+/change/", one))
    return admin.open(link)


def runs_of(admin: Visitor, name: str) -> int:
    """How often beat has sent it, as the task's page says; it is written down every 20 runs of any task."""
    words = task(admin, name).words
    found = re.search(r"total run count:? (\d+)", words, re.IGNORECASE)
    assert found is not None, words
    return int(found[1])


def test_a_schedule_edited_in_the_admin_takes_effect_while_beat_runs(clone: Clone, admin: Visitor) -> None:
    page = task(admin, "archive_inactive_chats")
    form = page.form("interval", "enabled")
    often = next(value for label, value in form.choices["interval"].items() if label == "every second")
    saved = admin.submit(page, form, interval=often, crontab="")
    assert "was changed successfully" in saved.text, saved.complaints
    before = runs_of(admin, "archive_inactive_chats")
    wait_until(lambda: runs_of(admin, "archive_inactive_chats"), lambda runs: runs >= before + 3, timeout=60)

    page = task(admin, "archive_inactive_chats")
    paused = admin.submit(page, page.form("interval", "enabled"), enabled="")
    assert "was changed successfully" in paused.text, paused.complaints
