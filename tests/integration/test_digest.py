"""Mails about archived chats and a mail server, over SMTP, that hangs up; no mail where mail is off."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from chat.retention.digest import send_digests
from tests.threads import LIMIT

pytestmark = pytest.mark.django_db(transaction=True)
CUTOFF = datetime(2020, 4, 20, tzinfo=UTC)


class Mailbox(socketserver.TCPServer):
    """Takes one mail for each connection; at the next one it says `farewell`, if anything, and hangs up."""

    allow_reuse_address = True

    def __init__(self, farewell: bytes) -> None:
        self.farewell = farewell
        self.recipients: list[str] = []
        super().__init__(("127.0.0.1", 0), Conversation)


class Conversation(socketserver.StreamRequestHandler):
    server: Mailbox
    timeout = LIMIT

    def handle(self) -> None:
        taken = 0
        self.wfile.write(b"220 ready\r\n")
        while command := self.rfile.readline().strip():
            verb = command[:4].upper()
            if verb == b"MAIL" and taken:
                self.wfile.write(self.server.farewell)
                return
            if verb == b"RCPT":
                self.server.recipients.append(command.decode().partition("<")[2].partition(">")[0])
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline().strip() != b".":
                    pass
                taken += 1
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
            if verb == b"QUIT":
                return


@contextmanager
def listening(farewell: bytes) -> Iterator[Mailbox]:
    with Mailbox(farewell) as mailbox:
        thread = threading.Thread(target=mailbox.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            mailbox.shutdown()
            thread.join(LIMIT)


@pytest.fixture
def archived(django_user_model: Any) -> dict[Any, list[str]]:
    names = ["ann", "ben", "cem", "dan"]
    people = [django_user_model.objects.create_user(name, email=f"{name}@example.org") for name in names]
    return {person.pk: ["a chat"] for person in people}


def smtp(settings: Any, port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port


@pytest.mark.parametrize("farewell", [b"", b"421 too many mails, call again\r\n"], ids=["without a word", "421"])
def test_a_mail_server_that_hangs_up_is_called_again_for_the_next_owner(
    farewell: bytes, archived: dict[Any, list[str]], settings: Any
) -> None:
    with listening(farewell) as mailbox:
        smtp(settings, mailbox.server_address[1])
        assert send_digests(archived, CUTOFF) == 2
    assert mailbox.recipients == ["ann@example.org", "cem@example.org"], "it hung up on the others"


def test_where_mail_is_off_nobody_counts_as_told(archived: dict[Any, list[str]], settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    assert send_digests(archived, CUTOFF) == 0
