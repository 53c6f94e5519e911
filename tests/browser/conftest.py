"""A real Chromium, a real server, a real database. Without a Chromium these tests are skipped, and say so.

`CHATD_CHROMIUM` names one; else the usual names are looked for in PATH. CI installs Debian's (`.ci/run`).
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from chat.execution import State
from devtools.chromium import NONE_FOUND, chromium, launch, open_page
from tests.factories import LIVE_STATES, chat_in

TIMEOUT = 15_000
"""Milliseconds that the browser waits for what a test expects."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Not for longer than its tests: while it lives, this thread has a loop, and no other test could run one."""
    path = chromium()
    if path is None:
        pytest.skip(NONE_FOUND)
    from playwright.sync_api import sync_playwright

    # Playwright's loop runs in this thread, so Django takes the tests' own queries for those of a coroutine.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        started = launch(playwright, path)
        yield started
        started.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def site(live_server: Any, settings: Any) -> str:
    """The address of a server of this test's database."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return str(live_server.url)


@pytest.fixture
def visit(browser: Any, site: str) -> Iterator[Callable[[Any], Any]]:
    """`visit(user)`: a page of a browser in which `user` is logged in; whatever goes wrong in it fails the test."""
    pages: list[Any] = []
    wrong: list[str] = []

    def open_for(user: Any) -> Any:
        pages.append(open_page(browser, site, user, wrong, timeout=TIMEOUT))
        return pages[-1]

    yield open_for
    for page in pages:
        page.context.close()
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(TIMEOUT / 1000)  # of the server: it ends with the browser's connection
    assert wrong == []


@pytest.fixture
def chats(user: Any, published: list[Any]) -> dict[State, Any]:
    """One in each state."""
    return {state: chat_in(state, user) for state in LIVE_STATES}


@pytest.fixture
def root(django_user_model: Any) -> Any:
    return django_user_model.objects.create_superuser("root", password="a password of theirs")


@pytest.fixture
def auditor(django_user_model: Any) -> Any:
    """Staff who may only look."""
    person = django_user_model.objects.create_user("auditor", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return person


@pytest.fixture
def read() -> Callable[[Any], str]:
    """`read(page)`: what stands on it, beside the menu, in one line."""
    return lambda page: re.sub(r"\s+", " ", page.locator("#main").inner_text())
