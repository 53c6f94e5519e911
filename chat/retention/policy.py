"""How many days chats are kept: the admin's `RetentionPolicy` over the settings. Read before a run's transactions."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TypeVar

from django.conf import settings

from chat.models import RetentionPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """Days; 0: never."""

    auto_archive_days: int
    retention_days: int
    archive_digest: bool
    """Whether owners are told by mail what was archived."""


def current_policy() -> Policy:
    row = RetentionPolicy.objects.first() or RetentionPolicy()
    return Policy(
        auto_archive_days=_either(row.auto_archive_days, settings.CHATD_AUTO_ARCHIVE_DAYS),
        retention_days=_either(row.retention_days, settings.CHATD_RETENTION_DAYS),
        archive_digest=_either(row.archive_digest, settings.CHATD_ARCHIVE_DIGEST),
    )


def _either(overridden: T | None, setting: T) -> T:
    return setting if overridden is None else overridden


def cutoff_of(days: int, now: datetime) -> datetime | None:
    """What happened before it is due: the last midnight UTC, minus so many days. None: nothing ever is.

    From midnight, so that all chats of one UTC day become due together and nothing trickles.
    """
    if days <= 0:
        return None
    try:
        return datetime.combine(now.astimezone(UTC).date(), time(), UTC) - timedelta(days=days)
    except OverflowError:  # before the year 1
        return None
