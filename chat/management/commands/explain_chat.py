"""`manage.py explain_chat ID`: the state of a chat in words, and who acts next; see `chat/explain/`."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from chat.errors import ChatNotFound
from chat.explain.reading import read_situation
from chat.explain.story import as_json, tell
from chat.management.paragraphs import Paragraphs

EPILOG = """\
Reads one moment and changes nothing; it may be asked again and again. "Next" says who acts next, "To do" what an
operator can do if nobody does. Exit code: 0 explained, 1 there is no such chat, or the database does not answer.

Examples:
  manage.py explain_chat 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11
  manage.py explain_chat --json 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11 | jq .next
"""


class Command(BaseCommand):
    help = (
        "Say in words what state a chat is in, who owns it and how old their heartbeat is, what it waits for, "
        "and who acts next."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("chat", metavar="ID", help="the chat's id, as in the API, the admin and the log")
        parser.add_argument("--json", action="store_true", help="print one JSON object; durations are in seconds")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            situation = read_situation(UUID(options["chat"]))
        except ValueError:
            raise CommandError(
                f"{options['chat']!r} is no chat id: it looks like 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11."
            ) from None
        except ChatNotFound:
            raise CommandError(f"There is no chat {options['chat']}.") from None
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"The database does not answer: {str(error).strip().splitlines()[0]}") from None
        if options["json"]:
            self.stdout.write(json.dumps(as_json(situation), ensure_ascii=False, default=str))
            return
        page = Paragraphs(self, [12], colors=options["force_color"])
        for label, text in tell(situation):
            page.write([label], text, look=page.style.MIGRATE_LABEL)
