"""The same pages as people see them: a real Chromium that asks the real web process, as three of them.

Who may do everything opens each page and presses each button, on the page of a chat and on the list for many. Who may
only look opens each page, finds nothing to press there, and is refused when they send what a button sends. Who is not
staff is sent to log in from everywhere. Whatever goes wrong in a page ends the measuring.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import F
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from chat.admin.buttons import BUTTONS
from chat.models import Chat
from chatworker.testing import wait_until
from devtools.bench.admin.pages import CHATS, PageFailed
from devtools.child import answers
from devtools.chromium import chromium, launch, open_page
from devtools.ports import free_port
from devtools.programs import programs, url
from devtools.project import PYTHON, ROOT

TIMES = 3
STARTS_WITHIN = 60.0
TIMEOUT = 30_000
"""Milliseconds that a page may take before the measuring is given up."""
LOADED = """async () => {
    const page = performance.getEntriesByType('navigation')[0];
    while (!page.loadEventEnd) await new Promise(done => setTimeout(done, 1));
    return page.loadEventEnd - page.startTime;
}"""
"""Milliseconds from the first request, redirects included, to the end of all that the page loads and draws."""
CAN_BE_PRESSED = (
    "#main button:visible, #main input[type=submit]:visible, #main a[href*='/add/'], #main a[href*='/delete/']"
)
CHANGES = re.compile("Save|Add|Delete|Pause|Resume|Run|" + "|".join(button.label for button in BUTTONS.values()))
TRIALS = {
    "wake": "unowned",
    "interrupt": "unowned",
    "clear_error": "error",
    "archive": "waiting",
    "unarchive": "archived",
    "reconcile": "invalid",
}
"""Button → the filter of the list that shows chats which have it."""
DAMAGED = 100
"""Chats that are made invalid, for who puts them right."""


def look(pages: Mapping[str, str], *, pictures: Path | None) -> dict[str, Any] | None:
    """Figures of every page and button; None where there is no Chromium. Raises `PageFailed`.

    `pictures`: the folder for one of each page.
    """
    path = chromium()
    if path is None:
        return None
    from playwright.sync_api import sync_playwright

    users = get_user_model().objects
    root = users.create_superuser("chromium-root")
    auditor = users.create_user("chromium-auditor", is_staff=True)
    auditor.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    everybody = users.create_user("chromium-everybody")
    everybody.user_permissions.set(Permission.objects.all())
    _damage_some()
    # Playwright's loop runs in this thread, so Django takes our own queries for those of a coroutine.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with _web() as site, sync_playwright() as playwright:
        browser = launch(playwright, path)
        figures = {
            "pages": _open_all(Visitor(browser, site, root), pages, pictures),
            "only_looking": _only_look(Visitor(browser, site, auditor), pages),
            "buttons": _press_all(Visitor(browser, site, root)),
        }
        _stay_outside(Visitor(browser, site, everybody), pages)
        browser.close()
    return figures


class Visitor:
    """A person at a page of their own."""

    def __init__(self, browser: Any, site: str, user: Any) -> None:
        self._site = site
        self._wrong: list[str] = []
        self.page = open_page(browser, site, user, self._wrong, timeout=TIMEOUT)

    def open(self, address: str) -> float:
        """Milliseconds until it was there as a whole."""
        answer = self.page.goto(address)
        if answer.status != 200:
            self._wrong.append(f"status {answer.status}")
        return self._loaded(address)

    def click(self, selector: str, within: str = "", **having: Any) -> float:
        """Press something (or what is `within` it) that leads to another page; milliseconds until that was there."""
        target = self.page.locator(selector, **having).first
        with self.page.expect_navigation():
            (target.locator(within).first if within else target).click()
        return self._loaded(f"{selector} {having}")

    def _loaded(self, what: str) -> float:
        took = float(self.page.evaluate(LOADED))
        if self._wrong:
            raise PageFailed(f"{what}: {', '.join(self._wrong)}")
        return took

    def reads(self) -> str:
        """What stands on the page beside the menu, in one line."""
        return re.sub(r"\s+", " ", self.page.locator("#main").inner_text())

    def can_change(self) -> set[str]:
        """What can be pressed there and would change something."""
        shown = self.page.locator(CAN_BE_PRESSED).all_inner_texts()
        return {text.strip() for text in shown if CHANGES.search(text)}

    def send(self, address: str) -> int:
        """POST there as a form of this page would; the status of the last answer."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self.page.context.cookies()}
        form = {"csrfmiddlewaretoken": cookies[settings.CSRF_COOKIE_NAME]}
        return int(self.page.request.post(f"{self._site}{address}", form=form).status)


def _open_all(visitor: Visitor, pages: Mapping[str, str], pictures: Path | None) -> dict[str, dict[str, int]]:
    print("opening every page in Chromium …", flush=True)
    visitor.open("/admin/")  # fonts, styles and scripts come once
    found = {}
    for name, address in pages.items():
        found[name] = _figures([visitor.open(address) for _ in range(TIMES)])
        if pictures:
            visitor.page.screenshot(path=pictures / f"{name.replace('/', ' ')}.png", full_page=True)
    return found


def _figures(took: list[float]) -> dict[str, int]:
    return {"first_ms": round(took[0]), "median_ms": round(median(took)), "worst_ms": round(max(took))}


def _only_look(visitor: Visitor, pages: Mapping[str, str]) -> dict[str, dict[str, int]]:
    print("… as somebody who may only look", flush=True)
    visitor.open("/admin/")
    found = {}
    for name, address in pages.items():
        if "/add/" in address or "/delete/" in address:
            if (status := visitor.page.request.get(address).status) != 403:
                raise PageFailed(f"{name}: {status} for somebody who may only look")
            continue
        found[name] = _figures([visitor.open(address)])
        if changes := visitor.can_change():
            raise PageFailed(f"{name}: somebody who may only look can press {changes}")
    for button in BUTTONS:
        if (status := visitor.send(_press(_idle_chat(), button))) != 403:
            raise PageFailed(f"{button}: {status} for somebody who may only look")
    return found


def _idle_chat() -> Chat:
    return Chat.objects.filter(status="waiting", archived=False).latest("updated_at")


def _press(chat: Chat, button: str) -> str:
    return reverse("admin:chat_chat_press", args=[chat.pk, button])


def _press_all(visitor: Visitor) -> dict[str, dict[str, int]]:
    """Each button of a chat `TIMES` times, for a page of chats once, and those of a task."""
    print("… pressing every button", flush=True)
    found = {}
    visitor.open("/admin/")
    if (status := visitor.send(_press(_idle_chat(), "wake"))) != 200:  # else the refusals of others say nothing
        raise PageFailed(f"what a button sends is refused for who may do everything: {status}")
    for name, state in TRIALS.items():
        button = BUTTONS[name]
        took = []
        for _ in range(TIMES):
            visitor.open(f"{CHATS}?is={state}")
            visitor.click("#result_list tbody tr", "a", has_not_text="with a queue")
            took.append(visitor.click("#chat-buttons button:enabled", has_text=button.label))
            _expect(visitor, rf"Chat \S+ {button.done}\.", button.label)
        found[f"{button.label}, one chat"] = _figures(took)
        visitor.open(f"{CHATS}?is={state}")
        visitor.page.locator("#action-toggle").check()
        visitor.page.select_option("select[name=action]", name)
        chats = visitor.page.locator("#result_list tbody tr").count()
        took = [visitor.click("#changelist-actions button[type=submit]")]
        _expect(visitor, rf"(\d+ chats|Chat \S+) {button.done}\.", f"{button.label}, a page of chats")
        found[f"{button.label}, {chats} chats of a list"] = _figures(took)
    task = PeriodicTask.objects.get(name="purge")
    visitor.open(reverse("admin:django_celery_beat_periodictask_change", args=[task.pk]))
    for label in ("Pause", "Resume", "Run now"):
        found[f"{label}, a task"] = _figures([visitor.click("#task-buttons button", has_text=label)])
    return found


def _expect(visitor: Visitor, words: str, what: str) -> None:
    if not re.search(words, said := visitor.reads()):
        raise PageFailed(f"{what}: the page does not say {words!r} but {said[:300]!r}")


def _stay_outside(visitor: Visitor, pages: Mapping[str, str]) -> None:
    print("… as somebody who is not staff", flush=True)
    for name, address in pages.items():
        visitor.open(address)
        if urlsplit(visitor.page.url).path != reverse("admin:login"):
            raise PageFailed(f"{name}: open to somebody who is not staff")


def _damage_some() -> None:
    """As no version of this program leaves a chat, and the admin must still show and mend it."""
    chosen = list(Chat.objects.filter(status="waiting", archived=False, root_id=None).values_list("pk")[:DAMAGED])
    Chat.objects.filter(pk__in=[pk for (pk,) in chosen]).update(
        status="paused", snapshot_version=F("snapshot_version") + 1
    )


@contextmanager
def _web() -> Iterator[str]:
    """The web process of `./dev up` on the database that is measured; its address."""
    port = free_port(8000)
    (web,) = (program for program in programs(port=port, workers=0, demo_model_port=None) if program.role == "web")
    environment = {**os.environ, "CHATD_PROCESS": "web"}
    command = [PYTHON, "-m", "devtools.tether", str(os.getpid()), PYTHON, "-m", *web.arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_until(lambda: answers(f"{url(port)}/readyz") or process.poll() is not None, bool, timeout=STARTS_WITHIN)
        if process.poll() is not None:
            raise PageFailed("the web process ended; what it said is above")
        yield url(port)
    finally:
        process.terminate()
        process.wait()
