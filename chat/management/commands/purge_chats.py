"""`manage.py purge_chats`: delete what has been archived for long, now; see `chat/retention/`."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from chat.management.retaining import RetainingCommand
from chat.retention.policy import Policy
from chat.retention.purge import purge
from chat.rows import batch


class Command(RetainingCommand):
    help = (
        "Delete archived chats for good, with their families and messages, once their retention is over. It counts "
        "from the last change of a chat; archiving it is one."
    )
    done, limited = "deleted", "chats"
    off = "Nothing is deleted: chats are kept for ever. Give --days N, or set CHATD_RETENTION_DAYS or the policy."
    epilog = """\
Does the same as beat's purge, without its limit. Days end at midnight UTC. May be interrupted and begun again at any
time; a family is deleted whole or not at all: with --limit, the first one even if it is bigger.

Exit code: 0 done, also where nothing was due; 1 another run is under way, or the database does not answer.

Examples:
  manage.py purge_chats --dry-run
  manage.py purge_chats --days 365
  manage.py purge_chats --days 365 --json | jq .messages
"""

    def days_of(self, policy: Policy) -> int:
        return policy.retention_days

    def count_due(self, cutoff: datetime) -> tuple[int, int]:
        return batch.count_outdated(cutoff)

    def run(self, *, days: int, limit: int | None, progress: Callable[[int], None], **options: Any) -> dict[str, int]:
        return purge(days=days, limit=limit, progress=progress)
