"""A Chromium for who looks at the admin as people do: the tests in a browser, and `./dev bench admin`."""

import os
import shutil
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NONE_FOUND = f"no Chromium: none of {', '.join(NAMES)} is in PATH (Debian: apt-get install chromium)"

_LEFT_BEHIND = "net::ERR_ABORTED"
"""Of a request that was under way when its page was left: the icon of the site, which nobody waits for."""
_ALONE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""It may run as root, and asks nobody but the server that it is sent to."""


def chromium() -> str | None:
    """The path of a Chromium, None if there is none: `CHATD_CHROMIUM`, else the usual names in PATH."""
    if wanted := os.environ.get("CHATD_CHROMIUM"):
        return wanted
    return next(filter(None, map(shutil.which, NAMES)), None)


def launch(playwright: Any, path: str) -> Any:
    return playwright.chromium.launch(executable_path=path, args=_ALONE)


def open_page(browser: Any, site: str, user: Any, wrong: list[str], *, timeout: int) -> Any:
    """An empty page in which `user` is logged in to `site`, with cookies of its own; `timeout` in milliseconds.

    What goes wrong in it from now on is added to `wrong`: errors of scripts, answers of a server that failed, requests
    that were not answered or went to another server.
    """
    from django.conf import settings
    from django.test import Client

    session, name = Client(), settings.SESSION_COOKIE_NAME
    session.force_login(user)
    context = browser.new_context(base_url=site, viewport={"width": 1440, "height": 1000})
    context.add_cookies([{"name": name, "value": session.cookies[name].value, "url": site}])
    page = context.new_page()
    page.set_default_timeout(timeout)

    def said(message: Any) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text} ({page.url})")

    def failed(request: Any) -> None:
        if request.failure != _LEFT_BEHIND:
            wrong.append(f"not loaded: {request.url} {request.failure}")

    def answered(answer: Any) -> None:
        if answer.status >= 500:
            wrong.append(f"{answer.status}: {answer.url}")

    def sent(request: Any) -> None:
        if not request.url.startswith((site, "data:")):
            wrong.append(f"outside: {request.url}")

    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    for event, hear in (("console", said), ("requestfailed", failed), ("response", answered), ("request", sent)):
        page.on(event, hear)
    return page
