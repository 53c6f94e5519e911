"""Fixtures of the integration tests alone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from chat import crash
from chat.catalogue import register_model
from chat.crash import Chaos, rules_in
from chatworker.models import catalogue
from demomodel.testing import demo_model_process


@pytest.fixture(autouse=True)
def passwords_cost_nothing(settings: Any) -> None:
    """Django's own hash takes a tenth of a second for every user that a test makes."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="module")
def demo_url() -> Iterator[str]:
    """A model over HTTP that answers at once."""
    with demo_model_process(interval=0) as demo:
        yield demo.url


@pytest.fixture
def owner(user: Any, demo_url: str) -> Any:
    """A user whose chats the demo model answers."""
    catalogue._kept.clear()
    register_model("demo:demo", base_url=demo_url, default=True)
    return user


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Chaos]:
    """`arm("door.locked=sleep:8")`: crash points of this process from now on."""

    def arm(rules: str) -> Chaos:
        chaos = Chaos(rules_in(rules, role=""))
        monkeypatch.setattr(crash, "armed", chaos)
        return chaos

    return arm


@pytest.fixture
def superuser(client: Client, django_user_model: Any, db: None) -> Client:
    client.force_login(django_user_model.objects.create_superuser("root"))
    return client


@pytest.fixture
def staff(django_user_model: Any, db: None) -> Client:
    """Who may enter the admin, and has no rights there."""
    return _as(django_user_model.objects.create_user("clerk", is_staff=True))


@pytest.fixture
def viewer(django_user_model: Any, db: None) -> Client:
    """Staff who may look at everything."""
    person = django_user_model.objects.create_user("auditor", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return _as(person)


@pytest.fixture
def stranger(django_user_model: Any, db: None) -> Client:
    """A user like everybody, with all rights, but not staff."""
    person = django_user_model.objects.create_user("everybody")
    person.user_permissions.set(Permission.objects.all())
    return _as(person)


def _as(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client
