"""Every system check speaks up for the setting that it is about, and for no other."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core import checks
from django.core.checks import registry

from chat.checks import HAND_OVER_LASTS, STOP_GRACE, TIMEOUTS, check_database, check_settings

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = re.compile(r"chatd\.[EW]\d{3}")


def ids() -> list[str]:
    return [str(message.id) for message in check_settings()]


def database(**changes: Any) -> list[str]:
    """What is said of our database with these changes."""
    return [str(message.id) for message in check_database({**settings.DATABASES["default"], **changes})]


def options(**changes: Any) -> list[str]:
    return database(OPTIONS={**settings.DATABASES["default"]["OPTIONS"], **changes})


def started_with(change: str) -> list[str]:
    return options(options=f"{settings.DATABASES['default']['OPTIONS']['options']} {change}")


def test_the_settings_as_they_come_are_sound() -> None:
    assert check_settings() == []


def test_manage_py_check_runs_them() -> None:
    assert check_settings in registry.registry.get_checks()


@pytest.mark.parametrize(
    ("id", "name", "value"),
    [
        ("chatd.E001", "CHATD_LEASE_TTL", 14.9),
        ("chatd.E001", "CHATD_HEARTBEAT_INTERVAL", 7),
        ("chatd.E002", "CHATD_MAX_CHATS", -1),
        ("chatd.E002", "CHATD_DRAIN_TIMEOUT", -0.1),
        ("chatd.E002", "CHATD_HEARTBEAT_INTERVAL", 0),
        ("chatd.E002", "CHATD_QUEUE_LIMIT", 0),
        ("chatd.E002", "CHATD_STREAM_SILENCE_TIMEOUT", None),
        ("chatd.E002", "CHATD_REQUIRES_ACTION_TIMEOUT", "300"),
        ("chatd.E002", "CHATD_LEASE_TTL", float("nan")),
        ("chatd.E008", "CELERY_WORKER_POOL", "prefork"),
        ("chatd.E009", "CELERY_TASK_ALWAYS_EAGER", True),
        ("chatd.W003", "CELERY_TASK_ACKS_LATE", True),
        ("chatd.W004", "CELERY_RESULT_BACKEND", "django-db"),
        ("chatd.W005", "CELERY_WORKER_DISABLE_PREFETCH", False),
    ],
)
def test_a_setting_that_breaks_a_promise_is_named(settings: Any, id: str, name: str, value: Any) -> None:
    setattr(settings, name, value)
    [message] = check_settings()
    assert message.id == id
    assert name in f"{message.msg} {message.hint}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATD_LEASE_TTL", 15),
        ("CHATD_MAX_CHATS", 0),
        ("CHATD_DRAIN_TIMEOUT", 0),
        ("CHATD_MAX_GENERATION_RETRIES", 1),
        ("CELERY_RESULT_BACKEND", "disabled://"),
    ],
)
def test_a_setting_at_its_limit_is_sound(settings: Any, name: str, value: Any) -> None:
    setattr(settings, name, value)
    assert check_settings() == []


@pytest.mark.parametrize("name", ["CELERY_WORKER_POOL", "CELERY_WORKER_DISABLE_PREFETCH"])
def test_what_celery_would_do_by_default_is_not_sound(settings: Any, name: str) -> None:
    delattr(settings, name)
    assert len(ids()) == 1


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("chatd.E003", {"ENGINE": "django.db.backends.sqlite3"}),
        ("chatd.E003", {"ENGINE": ""}),
        ("chatd.E003", {"ENGINE": "django.db.backends.mysql", "ATOMIC_REQUESTS": True}),
        ("chatd.E004", {"ATOMIC_REQUESTS": True}),
        ("chatd.E005", {"AUTOCOMMIT": False}),
    ],
)
def test_a_database_that_breaks_a_promise_is_named(id: str, change: dict[str, Any]) -> None:
    assert database(**change) == [id]


def test_the_database_of_the_settings_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)
    assert ids() == ["chatd.E004"]


@pytest.mark.parametrize("option", ["-c synchronous_commit=off", "-csynchronous_commit=off", "--synchronous_commit=0"])
def test_commits_that_a_crash_may_lose_are_refused(option: str) -> None:
    assert started_with(option) == ["chatd.E006"]


@pytest.mark.parametrize("value", ["on", "local", "remote_apply"])
def test_commits_that_a_crash_cannot_lose_are_sound(value: str) -> None:
    assert started_with(f"-c synchronous_commit={value}") == []


def test_an_isolation_level_that_reads_the_past_is_refused() -> None:
    assert options(isolation_level=psycopg.IsolationLevel.REPEATABLE_READ) == ["chatd.E007"]
    assert options(isolation_level=psycopg.IsolationLevel.READ_COMMITTED) == []


@pytest.mark.parametrize("name", TIMEOUTS)
@pytest.mark.parametrize("value", ["0", "'0s'", None])
def test_a_database_that_waits_for_ever_is_a_warning(name: str, value: str | None) -> None:
    kept = settings.DATABASES["default"]["OPTIONS"]["options"]
    assert f"-c {name}=" in kept
    changed = re.sub(rf"-c {name}=\S+", "" if value is None else f"-c {name}={value}", kept)
    [message] = check_database({**settings.DATABASES["default"], "OPTIONS": {"options": changed}})
    assert message.id == "chatd.W002"
    assert name in message.msg


def test_a_drain_that_outlasts_the_containers_patience_is_a_warning(settings: Any) -> None:
    settings.CHATD_EMBEDDED_POSTGRES = False
    settings.CHATD_DRAIN_TIMEOUT = STOP_GRACE - HAND_OVER_LASTS
    assert ids() == []
    settings.CHATD_DRAIN_TIMEOUT += 1
    assert ids() == ["chatd.W001"]
    settings.CHATD_EMBEDDED_POSTGRES = True
    assert ids() == [], "./dev up waits as long as it takes"


def test_the_containers_patience_is_what_docker_compose_gives() -> None:
    worker = (ROOT / "docker-compose.yml").read_text().split("\n  chat-worker:\n")[1].split("\n\n")[0]
    assert re.findall(r"stop_grace_period: (\d+)s", worker) == [f"{STOP_GRACE:g}"]


def test_errors_stop_a_command_and_warnings_do_not(settings: Any) -> None:
    settings.CHATD_LEASE_TTL = 1
    settings.CELERY_TASK_ACKS_LATE = True
    assert [(message.id, message.is_serious()) for message in check_settings()] == [
        ("chatd.E001", True),
        ("chatd.W003", False),
    ]
    assert all(message.id.startswith("chatd.E") == (message.level >= checks.ERROR) for message in check_settings())


def test_every_check_is_documented_and_none_besides() -> None:
    known = set(NUMBERS.findall((ROOT / "chat" / "checks.py").read_text()))
    documented = re.findall(r"^\| `(chatd\.[EW]\d{3})` \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
    assert sorted(documented) == sorted(known)


def test_every_check_is_tested_here() -> None:
    known = set(NUMBERS.findall((ROOT / "chat" / "checks.py").read_text()))
    assert known <= set(NUMBERS.findall(Path(__file__).read_text()))
