"""`manage.py reconcile_chats`: rows that the state machine does not know become errors that people can go on from."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from chat import transitions
from chat.errors import ChatNotFound, TransitionNotAllowed
from chat.execution import State
from chat.explain.situation import count
from chat.management.progress import Progress
from chat.management.refusals import database_refusals
from chat.rows.invalid import invalid_chats
from chat.update import chat_read, chat_update

HELD = (LockNotAvailable, DeadlockDetected)
"""What the database says where somebody else works on the row."""

EPILOG = """\
Such rows come from writes past the door: waiting with a queue, archived while running, a status that nobody knows. Each
becomes an error ("E0" or "E1") that its owner goes on from with the next message; nothing that was said is lost. Looks
at every chat unless it is told which; manage.py explain_chat ID says what is the matter with one. A chat that somebody
holds is passed over and counts as failed ("held").

Exit code: 0 all are valid now (with --dry-run: they were); 1 some are not, or the database does not answer.

Examples:
  manage.py reconcile_chats --dry-run
  manage.py reconcile_chats 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11
  manage.py reconcile_chats --json | jq -r '.chats[].chat_id'
"""


class Command(BaseCommand):
    help = "Find chats in a combination of status, archived and queue that the state machine does not know; right them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("chats", metavar="ID", nargs="*", help="only these chats (all that are invalid)")
        parser.add_argument("--dry-run", action="store_true", help="say which, change nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object: dry_run, chats, failed")

    @database_refusals()
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            wanted = [UUID(text) for text in options["chats"]]
        except ValueError as error:
            raise CommandError(f"That is no chat id: {error}.") from None
        righted, failed = self._all(wanted, dry_run=options["dry_run"], say=not options["json"])
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], "chats": righted, "failed": failed}))
        else:
            verb = "would be put right" if options["dry_run"] else "put right"
            if righted or not failed:
                self.stdout.write(
                    f"{count(len(righted), 'chat')} {verb}." if righted else "All chats looked at are valid."
                )
            if failed:
                self.stdout.write(f"{count(len(failed), 'chat')} could not be looked at.")
        if failed or (options["dry_run"] and righted):
            raise SystemExit(1)

    def _all(
        self, wanted: list[UUID], *, dry_run: bool, say: bool
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        righted, failed = [], []
        with Progress(self.stderr, "chats put right") as progress:
            for chat_id in wanted or _found():
                try:
                    before, after = _look(chat_id) if dry_run else _reconcile(chat_id)
                except ChatNotFound:
                    failed.append({"chat_id": str(chat_id), "error": "not_found"})
                    self.stderr.write(f"There is no chat {chat_id}.")
                    continue
                except OperationalError as error:
                    if not isinstance(error.__cause__, HELD):
                        raise
                    failed.append({"chat_id": str(chat_id), "error": "held"})
                    self.stderr.write(f"Somebody holds chat {chat_id}; it stays as it is. Try again later.")
                    continue
                if before is not State.INVALID:
                    continue
                righted.append({"chat_id": str(chat_id), "after": after and str(after)})
                if say:
                    self.stdout.write(f"{chat_id}  {before}{f' → {after}' if after else ''}")
                progress.advance(1)
        return righted, failed


def _found() -> Iterable[UUID]:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")  # it looks at all of them
    try:
        yield from invalid_chats()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")


def _look(chat_id: UUID) -> tuple[State, State | None]:
    return chat_read(chat_id).state, None


def _reconcile(chat_id: UUID) -> tuple[State, State | None]:
    """The state before and after; a valid chat stays as it is."""
    try:
        with chat_update(chat_id) as update:
            transitions.reconcile_invalid_state(update)
        return State.INVALID, update.state
    except TransitionNotAllowed as refusal:
        return State(refusal.state), None
