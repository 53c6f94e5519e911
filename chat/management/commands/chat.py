"""`manage.py chat "text"`: say something and watch the answer come; see `chat/terminal/`."""

import asyncio
import contextlib
import logging
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from chat.errors import ChatRefusal
from chat.execution import Status
from chat.snapshot import ChatSnapshot
from chat.terminal.follow import LEFT, Follower, interrupt
from chat.terminal.narrator import Piece, Style
from chat.terminal.output import JsonLines, OnlyTheEnd, Story, print_json
from chat.terminal.printer import Printer
from chat.terminal.sending import Sent, send, speaker

ANSWERED, FAILED, INTERRUPTED = 0, 1, 130
HINT_AFTER = 5.0
"""Seconds without a sign of anybody's work, after which it is said."""

EPILOG = """\
Ctrl-C stops the answer and keeps what was written; a second Ctrl-C leaves at once. Leaving never changes a chat.
Into a pipe goes the answer alone; everything else is on standard error.

Exit code: 0 answered, 1 error or refused, 130 interrupted.

Examples:
  manage.py chat "Hello"
  manage.py chat --chat 0193bd6e-7c4c-4d0f-9f57-4a0b0d3f4c11 "and then?"
  git diff | manage.py chat --no-stream -
  manage.py chat --json "Hello" | jq -r 'select(.event == "message") | .message.role'
"""


class Command(BaseCommand):
    help = "Say something to a chat and print the answer as it comes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("text", help='what to say; "-": read it from standard input')
        parser.add_argument("--chat", metavar="ID", default="", help="go on with this chat instead of a new one")
        parser.add_argument("--model", metavar="PROVIDER:NAME", help="the model that answers (the chat's, the default)")
        parser.add_argument("--user", metavar="NAME", default="", help="who speaks (the first active superuser)")
        parser.add_argument("--json", action="store_true", help="one JSON object per event of the stream")
        parser.add_argument(
            "--no-stream",
            action="store_true",
            help="wait and print only the final answer; with --json one object: chat_id, status, message",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        colors = True if options["force_color"] else False if options["no_color"] else None
        printer = Printer(self.stdout, self.stderr, colors=colors)
        try:
            with _quiet_log(options["verbosity"]):
                code = self._say(printer, **options)
            printer.close()
        except BrokenPipeError:  # whoever read the answer has left; the chat goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        if code:
            sys.exit(code)

    def _say(self, printer: Printer, **options: Any) -> int:
        text = sys.stdin.read() if options["text"] == "-" else options["text"]
        sent = None
        try:
            sent = send(speaker(options["user"]), text, chat_id=options["chat"], model=options["model"])
            return self._follow(printer, sent, **options)
        except ChatRefusal as refusal:
            self._refused(printer, refusal, sent, **options)
            return FAILED
        except KeyboardInterrupt:  # before the stream was followed, or after: Ctrl-C belongs to `Follower` in between
            if sent and interrupt(sent.chat_id)[0]:
                printer.hint(LEFT)
            return INTERRUPTED

    def _follow(self, printer: Printer, sent: Sent, **options: Any) -> int:
        reader: Story | JsonLines | OnlyTheEnd
        if options["no_stream"]:
            reader = OnlyTheEnd(printer, errors=not options["json"])
        elif options["json"]:
            reader = JsonLines(self.stdout, printer)
        else:
            reader = Story(printer, own_message=sent.position is None)
        if sent.position is not None:
            printer.hint(f"The chat is busy: your message waits in its queue, at position {sent.position}.")
        follower = Follower(sent.chat_id, sent.view, reader, hint_after=HINT_AFTER)
        final = asyncio.run(follower.run())
        if isinstance(reader, OnlyTheEnd) and not options["json"]:
            reader.print_answer()
        elif isinstance(reader, OnlyTheEnd):
            print_json(self.stdout, _end(final, reader))
        interrupted = follower.stopped or reader.interrupted
        if not options["json"]:
            self._farewell(printer, sent, saved=follower.stopped and not follower.left and reader.answer is None)
        if final.chat.status in (Status.ERROR, Status.REQUIRES_ACTION):
            return FAILED
        return INTERRUPTED if interrupted or follower.left else ANSWERED

    def _farewell(self, printer: Printer, sent: Sent, *, saved: bool) -> None:
        if saved:
            printer.hint("Interrupted before anything was written.")
        if self.stderr.isatty():
            printer.hint(f"chat {sent.chat_id}\nto go on: python manage.py chat --chat {sent.chat_id} …")

    def _refused(self, printer: Printer, refusal: ChatRefusal, sent: Sent | None, **options: Any) -> None:
        chat_id = str(sent.chat_id) if sent else options["chat"] or None
        if options["json"]:
            error = {"code": refusal.code, "message": refusal.detail, **refusal.details}
            how = {"status": None, "message": None} if options["no_stream"] else {"event": "refused"}
            print_json(self.stdout, {**how, "chat_id": chat_id, "error": error})
        else:
            printer.show([Piece(Style.ERROR, f"Refused: {refusal.detail}")])


def _end(final: ChatSnapshot, reader: OnlyTheEnd) -> dict[str, Any]:
    return {
        "chat_id": str(final.chat.pk),
        "status": str(final.chat.status),
        "message": reader.answer,
        "error": final.chat.last_error,
    }


@contextlib.contextmanager
def _quiet_log(verbosity: int) -> Iterator[None]:
    """Events of the log do not belong between the words of an answer; `--verbosity 2` shows them."""
    if verbosity < 2:
        logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
