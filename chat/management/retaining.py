"""What `archive_chats` and `purge_chats` have in common: options, a dry run that counts, progress, the report."""

import json
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from chat.explain.situation import count
from chat.management.progress import Progress
from chat.management.refusals import database_refusals
from chat.retention.policy import Policy, current_policy, cutoff_of
from chat.rows.clock import database_now
from chat.task_runs import UnderWay


class RetainingCommand(BaseCommand):
    """One run without a limit, at once."""

    done: str
    """As in "120 chats archived"."""
    limited: str
    """What `--limit` counts: "families"."""
    off: str
    """What to say where the policy has no days."""
    epilog: str

    def days_of(self, policy: Policy) -> int:
        raise NotImplementedError

    def count_due(self, cutoff: datetime) -> tuple[int, int]:
        """Families, and chats in them."""
        raise NotImplementedError

    def run(self, *, days: int, limit: int | None, progress: Callable[[int], None], **options: Any) -> dict[str, int]:
        raise NotImplementedError

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = self.epilog
        parser.add_argument("--days", type=int, metavar="N", help="instead of the policy's number of days")
        parser.add_argument("--limit", type=int, metavar="N", help=f"at most so many {self.limited} (all that are due)")
        parser.add_argument(
            "--dry-run", action="store_true", help="count what is due, whatever the limit; change nothing"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    @database_refusals()
    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        for name in ("days", "limit"):
            if options[name] is not None and options[name] < 0:
                raise CommandError(f"--{name} is {options[name]}, but it takes a whole number, 0 or more.")
        try:
            days = self.days_of(current_policy()) if options["days"] is None else options["days"]
            cutoff = cutoff_of(days, database_now())
            did = self._do(days, cutoff, options)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. What was done stays; begin again at any time.")
            raise SystemExit(130) from None
        except UnderWay:
            raise CommandError("Another run is under way, perhaps beat's. Nothing was done; try again later.") from None
        if options["json"]:
            report = {"dry_run": options["dry_run"], "days": days, "cutoff": cutoff and cutoff.isoformat(), **did}
            self.stdout.write(json.dumps({**report, "seconds": round(time.monotonic() - begun, 2)}))
        else:
            self.stdout.write(self._sentence(cutoff, did, limit=options["limit"], dry_run=options["dry_run"]))

    def _do(self, days: int, cutoff: datetime | None, options: dict[str, Any]) -> dict[str, int]:
        if cutoff is None:
            return {"chats": 0, "families": 0}
        if options["dry_run"]:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")  # it counts all of them
                try:
                    families, chats = self.count_due(cutoff)
                finally:
                    cursor.execute("RESET statement_timeout")
            return {"chats": chats, "families": families}
        with Progress(self.stderr, f"chats {self.done}") as progress:
            return self.run(progress=progress.advance, **{**options, "days": days})

    def _sentence(self, cutoff: datetime | None, did: dict[str, int], *, limit: int | None, dry_run: bool) -> str:
        if cutoff is None:
            return self.off
        since = f"{cutoff:%Y-%m-%d %H:%M} UTC"
        chats = f"{count(did['chats'], 'chat')} in {_families(did['families'])}"
        if dry_run:
            at_most = "" if limit is None else f" One run with this limit takes at most {limit} {self.limited} of them."
            return f"Would be {self.done}: {chats}, without a change since {since}.{at_most}"
        more = f", {count(did['messages'], 'message')}" if "messages" in did else ""
        skipped = f" Skipped, because in use just now: {_families(did['skipped'])}." if did["skipped"] else ""
        digests = f" {count(did['digests'], 'owner')} told by mail." if did.get("digests") else ""
        return f"{self.done.capitalize()}: {chats}{more}, without a change since {since}.{skipped}{digests}"


def _families(number: int) -> str:
    return "1 family" if number == 1 else f"{number} families"
