"""`manage.py seed_chats`: a big database that is made up; see `chat/seeding/`."""

import json
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction

from chat.catalogue import register_model
from chat.management.progress import Progress
from chat.management.refusals import database_refusals
from chat.models import Chat, ChatModel
from chat.rows.clock import database_now
from chat.seeding.database import owners_of, seed, settle
from chat.seeding.wish import Wish

MESSAGES_PER_CHAT, CHATS_PER_OWNER, MOST_OWNERS = 10, 200, 5000
MANY = 100_000
"""Chats from which on statistics take long enough to be announced."""

EPILOG = """\
Chats of all ages, with families, pins, labels, errors, tool calls and archived ones; a few are under way, so running
workers take them. The same --seed makes the same chats, counted back from now; another one adds others. All goes in as
one transaction, owners included: whoever interrupts it leaves nothing. While more is added than is there, the tables
are locked. Not for a database that people use. A million chats with ten million messages take some minutes and 9 GB.

Exit code: 0 made; 1 this seed is there already, or the database refuses it.

Examples:
  manage.py seed_chats
  manage.py seed_chats --chats 1000000 --messages 10000000
  manage.py seed_chats --chats 500 --owner admin --at-rest --seed 7
"""


class Command(BaseCommand):
    help = "Fill the database with made-up chats, up to millions, for trying out and for measuring."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("--chats", type=int, default=1000, metavar="N", help="how many chats (1000)")
        parser.add_argument("--messages", type=int, metavar="N", help="how many messages in all (ten for each chat)")
        parser.add_argument("--owners", type=int, metavar="N", help="how many users own them (one for 200 chats)")
        parser.add_argument("--owner", metavar="NAME", help="they all belong to this user, who is there already")
        parser.add_argument("--days", type=int, default=400, metavar="N", help="how long ago the first began (400)")
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="what they are drawn from (0)")
        parser.add_argument("--at-rest", action="store_true", help="none that is under way")
        parser.add_argument("--dry-run", action="store_true", help="say what would be made, make nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        chats = options["chats"]
        messages = chats * MESSAGES_PER_CHAT if options["messages"] is None else options["messages"]
        owners = min(MOST_OWNERS, 1 + chats // CHATS_PER_OWNER) if options["owners"] is None else options["owners"]
        if chats < 1 or messages < chats or options["days"] < 1 or owners < 1:
            raise CommandError("There is at least one chat, one message in each, one day, and one owner.")
        owners = 1 if options["owner"] else owners
        did = {"chats": chats, "messages": messages, "owners": owners, "seed": options["seed"]}
        if not options["dry_run"]:
            self._seed(chats, messages, owners, options)
            self._settle(chats)
        seconds = round(time.monotonic() - begun, 1)
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], **did, "seconds": seconds}))
        else:
            made = f"{chats:,} chats with {messages:,} messages of {owners:,} {'owner' if owners == 1 else 'owners'}"
            self.stdout.write(f"Would make {made}." if options["dry_run"] else f"Made {made} in {seconds:,} s.")

    @database_refusals()
    def _seed(self, chats: int, messages: int, owners: int, options: dict[str, Any]) -> None:
        try:
            with transaction.atomic(), Progress(self.stderr, "chats", total=chats) as progress:
                if not ChatModel.objects.filter(is_default=True).exists():
                    register_model("demo:demo", default=True)
                model = ChatModel.objects.select_related("provider").get(is_default=True).full_name
                wish = Wish(
                    chats, messages, database_now(), options["seed"], options["days"], options["at_rest"], model
                )
                keys = [_user(options["owner"])] if options["owner"] else owners_of(wish, owners)
                seed(wish, keys, progress.advance)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. Nothing was made.")
            raise SystemExit(130) from None
        except IntegrityError as error:
            if Chat._meta.db_table + "_pkey" not in str(error):
                raise
            raise CommandError(f"--seed {options['seed']} has been made here already. Give another one.") from None

    @database_refusals()
    def _settle(self, chats: int) -> None:
        if chats >= MANY:
            self.stderr.write("Making statistics …")
        try:
            settle()
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. All chats were made; Postgres makes the statistics in its own time.")
            raise SystemExit(130) from None


def _user(name: str) -> Any:
    users = get_user_model()
    try:
        return users._default_manager.get_by_natural_key(name).pk
    except users.DoesNotExist:
        raise CommandError(f"There is no user {name!r}. Make one: manage.py createsuperuser") from None
