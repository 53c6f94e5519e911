"""Django system checks: settings that would lose data, stop chats for good, or break what the documentation promises.

`config/settings.py` refuses wrong values of the environment; these checks see what a project overrides in Python too.
Every `manage.py` command runs them: an error stops it, a warning is printed. docs/troubleshooting.md has each of them,
and `SILENCED_SYSTEM_CHECKS` is for whoever knows better.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

HEARTBEATS_PER_LEASE = 3
STOP_GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL that docker-compose.yml gives to chat workers, as Kubernetes does."""
HAND_OVER_LASTS = 5.0
"""Seconds beyond the drain that a chat worker may need to hand over what is left."""
MORE_THAN_NOTHING = (
    "CHATD_HEARTBEAT_INTERVAL", "CHATD_LEASE_TTL", "CHATD_STREAM_SILENCE_TIMEOUT", "CHATD_REQUIRES_ACTION_TIMEOUT",
    "CHATD_MAX_GENERATION_RETRIES", "CHATD_WORKER_SLOTS", "CHATD_QUEUE_LIMIT", "CHATD_WEB_CONNECTIONS",
)  # fmt: skip
TIMEOUTS = {
    "statement_timeout": "a statement that hangs holds its locks for ever",
    "lock_timeout": "a request that waits for a row waits for ever",
    "idle_in_transaction_session_timeout": "a process that is stopped in mid-transaction keeps its chat locked",
}


def check_settings(app_configs: Any = None, **_newer: Any) -> list[CheckMessage]:
    return [*_numbers(), *_lease(), *_drain(), *check_database(settings.DATABASES.get("default", {})), *_celery()]


def _numbers() -> Iterator[CheckMessage]:
    for name in sorted({name for name in dir(settings) if name.startswith("CHATD_")}):
        value = getattr(settings, name)
        if isinstance(value, bool):
            continue
        if name in MORE_THAN_NOTHING and not _is_number(value):
            yield Error(f"{name} is {value!r}, which is no number.", hint="It takes a number.", id="chatd.E002")
        elif _is_number(value) and not (value > 0 if name in MORE_THAN_NOTHING else value >= 0):
            least = "more than 0" if name in MORE_THAN_NOTHING else "0 or more"
            yield Error(f"{name} is {value}, but it takes {least}.", hint="See docs/settings.md.", id="chatd.E002")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _lease() -> Iterator[CheckMessage]:
    interval, lease = settings.CHATD_HEARTBEAT_INTERVAL, settings.CHATD_LEASE_TTL
    if _is_number(interval) and _is_number(lease) and lease < HEARTBEATS_PER_LEASE * interval:
        yield Error(
            f"CHATD_LEASE_TTL ({lease:g} s) is less than three heartbeats ({HEARTBEATS_PER_LEASE * interval:g} s): "
            "a late one gives chats to other workers while their owner still writes.",
            hint="Raise CHATD_LEASE_TTL, or lower CHATD_HEARTBEAT_INTERVAL.",
            id="chatd.E001",
        )


def _drain() -> Iterator[CheckMessage]:
    drain = settings.CHATD_DRAIN_TIMEOUT
    if settings.CHATD_EMBEDDED_POSTGRES or not _is_number(drain):
        return  # `./dev up` gives as long as it takes
    if drain + HAND_OVER_LASTS > STOP_GRACE:
        yield Warning(
            f"CHATD_DRAIN_TIMEOUT is {drain:g} s, but docker-compose.yml kills a chat worker {STOP_GRACE:g} s after "
            "SIGTERM: its chats then wait for others to notice.",
            hint=f"Give chat workers more than {drain + HAND_OVER_LASTS:g} s (stop_grace_period, "
            "terminationGracePeriodSeconds, TimeoutStopSec) and silence this check, or lower CHATD_DRAIN_TIMEOUT.",
            id="chatd.W001",
        )


def check_database(database: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """`database`: what DATABASES says of the default one."""
    engine = str(database.get("ENGINE", ""))
    options = database.get("OPTIONS", {})
    if not any(name in engine for name in ("postgres", "postgis")):
        yield Error(
            f"DATABASES['default'] has the engine {engine or 'none'!r}, but triggers, locks and leases need Postgres.",
            hint="Use django.db.backends.postgresql.",
            id="chatd.E003",
        )
        return
    if database.get("ATOMIC_REQUESTS"):
        yield Error(
            "ATOMIC_REQUESTS is on: a chat would stay locked, and its change unpublished, until the request ends.",
            hint="Switch it off; chat_update opens the transaction that a change needs.",
            id="chatd.E004",
        )
    if not database.get("AUTOCOMMIT", True):
        yield Error(
            "AUTOCOMMIT is off: heartbeats and other single statements would never be committed.",
            hint="Leave AUTOCOMMIT at its default.",
            id="chatd.E005",
        )
    started_with = _started_with(str(options.get("options", "")))
    if started_with.get("synchronous_commit") in ("off", "false", "0", "no"):
        yield Error(
            "synchronous_commit is off: a crash of Postgres loses answers that clients were told are saved.",
            hint="Remove it from OPTIONS['options'] of DATABASES.",
            id="chatd.E006",
        )
    if options.get("isolation_level") not in (
        None,
        1,
        2,
    ):  # 2: psycopg.IsolationLevel.READ_COMMITTED, and 1 is the same to Postgres
        yield Error(
            "isolation_level is not READ COMMITTED: whoever waits for a chat's lock would read it as it was before.",
            hint="Remove isolation_level from OPTIONS of DATABASES.",
            id="chatd.E007",
        )
    for name, without in TIMEOUTS.items():
        if started_with.get(name, "0").strip("'\"msind ") in ("0", ""):
            yield Warning(
                f"OPTIONS of DATABASES set no {name}: {without}.",
                hint=f"Add \"-c {name}=…\" to OPTIONS['options'], as config/settings.py does. If a pooler refuses it, "
                "set it with ALTER ROLE and silence this check.",
                id="chatd.W002",
            )


def _started_with(options: str) -> dict[str, str]:
    """libpq's `options`: "-c name=value --name=value" as a dictionary."""
    return dict(re.findall(r"(?:-c\s*|--)([\w.]+)=(\S*)", options))


def _celery() -> Iterator[CheckMessage]:
    pool = getattr(settings, "CELERY_WORKER_POOL", "prefork")
    if pool != "threads":
        yield Error(
            f"CELERY_WORKER_POOL is {pool!r}: chats run on the event loop of their process, which only threads share. "
            "With another pool no chat runs.",
            hint='Set it to "threads".',
            id="chatd.E008",
        )
    if getattr(settings, "CELERY_TASK_ALWAYS_EAGER", False):
        yield Error(
            "CELERY_TASK_ALWAYS_EAGER is on: wake-ups would reach no worker.",
            hint="Remove it; tests run a real worker (chatworker/testing.py).",
            id="chatd.E009",
        )
    if getattr(settings, "CELERY_TASK_ACKS_LATE", False):
        yield Warning(
            "CELERY_TASK_ACKS_LATE is on: the wake-up of an answer that takes long is delivered again while it runs.",
            hint="Switch it off: what a lost wake-up would cost, a sweep finds.",
            id="chatd.W003",
        )
    if getattr(settings, "CELERY_RESULT_BACKEND", None) not in (None, "", "disabled", "disabled://"):
        yield Warning(
            "CELERY_RESULT_BACKEND is set: nobody reads results of wake-ups, and storing them costs time and memory.",
            hint="Remove it.",
            id="chatd.W004",
        )
    if not getattr(settings, "CELERY_WORKER_DISABLE_PREFETCH", False):
        yield Warning(
            "CELERY_WORKER_DISABLE_PREFETCH is off: a full worker keeps wake-ups that a free one could take.",
            hint="Set it to True.",
            id="chatd.W005",
        )
