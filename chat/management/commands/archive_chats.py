"""`manage.py archive_chats`: archive what nobody touches any more, now; see `chat/retention/`."""

from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from typing import Any

from chat.management.retaining import RetainingCommand
from chat.retention.archive import archive_inactive_chats
from chat.retention.policy import Policy
from chat.rows import batch


class Command(RetainingCommand):
    help = (
        "Archive chats in which nothing has happened for some days, with their families. Pinned chats, and families "
        "with a member at work, stay. Nothing is lost: each can be brought back."
    )
    done, limited = "archived", "families"
    off = "Nothing is archived: auto-archive is off. Give --days N, or set CHATD_AUTO_ARCHIVE_DAYS or the policy."
    epilog = """\
Does the same as beat's archive_inactive_chats, without its limit. Days end at midnight UTC. May be interrupted and
begun again at any time.

Exit code: 0 done, also where nothing was due; 1 another run is under way, or the database does not answer.

Examples:
  manage.py archive_chats --dry-run
  manage.py archive_chats --days 90 --no-mail
  manage.py archive_chats --days 90 --json | jq .chats
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--no-mail", action="store_true", help="tell no owner by mail, whatever the policy says")

    def days_of(self, policy: Policy) -> int:
        return policy.auto_archive_days

    def count_due(self, cutoff: datetime) -> tuple[int, int]:
        return batch.count_inactive(cutoff)

    def run(self, *, days: int, limit: int | None, progress: Callable[[int], None], **options: Any) -> dict[str, int]:
        send_digest = False if options["no_mail"] else None
        return archive_inactive_chats(days=days, limit=limit, progress=progress, send_digest=send_digest)
