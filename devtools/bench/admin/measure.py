"""The whole run, in a process whose Django is set up: seed, then ask for each page as a superuser, some times.

Then most chats are archived, as a database is whose idle chats are archived for years before they are deleted. Then a
Chromium opens all pages once more, where there is one.
"""

import time
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client

from chat.catalogue import register_model
from chat.models import Chat, triggers
from chat.rows.clock import database_now
from chat.seeding.database import owners_of, seed, settle
from chat.seeding.wish import Wish
from devtools.bench.admin import in_chromium
from devtools.bench.admin.pages import PageFailed, after_archiving, pages

MESSAGES_PER_CHAT, CHATS_PER_OWNER = 10, 200
TIMES = 5


def measure(chats: int, pictures: Path | None) -> dict[str, Any]:
    """The figures; `pages` are the server's, from request to answer, `chromium` a browser's. Raises `PageFailed`."""
    print(f"seeding {chats:,} chats with {chats * MESSAGES_PER_CHAT:,} messages …", flush=True)
    register_model("demo:demo", default=True)
    wish = Wish(chats, chats * MESSAGES_PER_CHAT, database_now())
    seed(wish, owners_of(wish, 1 + chats // CHATS_PER_OWNER))
    settle()
    settings.ALLOWED_HOSTS = ["*"]
    browser = Client()
    root = get_user_model().objects.create_superuser("measuring")
    browser.force_login(root)
    print("asking for every page …", flush=True)
    every = pages(root)
    found = {name: _ask(browser, name, address) for name, address in every.items()}
    print("archiving most chats …", flush=True)
    _archive_most()
    found |= {name: _ask(browser, name, address) for name, address in after_archiving().items()}
    slowest = max(found, key=lambda name: max(found[name]["first_ms"], found[name]["worst_ms"]))
    return {
        "chats": chats,
        "slowest": slowest,
        "slowest_ms": max(found[slowest]["first_ms"], found[slowest]["worst_ms"]),
        "pages": found,
        "chromium": in_chromium.look(every, pictures=pictures),
    }


def _archive_most() -> None:
    """Seven of eight idle chats without a parent, one after the other as retention does it, so no two at one time."""
    kind: Any = Chat
    touched = triggers.touch_updated_at.get_pgid(kind)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [f"{{{touched}}}"])
        cursor.execute(
            """UPDATE chat_chat SET archived = true, snapshot_version = snapshot_version + 1,
                    updated_at = clock_timestamp()
                WHERE status = 'waiting' AND NOT archived AND root_id IS NULL AND left(id::text, 1) NOT IN ('0', '1')"""
        )
    settle()


def _ask(browser: Client, name: str, address: str) -> dict[str, Any]:
    took = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = browser.get(address, follow=True)
        took.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200:
            raise PageFailed(f"{name} ({address}): {answer.status_code}")
    return {
        "first_ms": round(took[0]),
        "median_ms": round(median(took)),
        "worst_ms": round(max(took)),
        "kb": len(answer.content) // 1024,
    }
