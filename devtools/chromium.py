"""A Chromium for who looks at the admin as people do: the tests in a browser, and `./dev bench admin`."""

import os
import shutil
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NONE_FOUND = f"no Chromium: none of {', '.join(NAMES)} is in PATH (Debian: apt-get install chromium)"
LEFT_BEHIND = "net::ERR_ABORTED"
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
