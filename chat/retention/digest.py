"""One mail for each owner of what was archived, by Django's own mail settings; off unless `EMAIL_URL` is set.

A mail that cannot be sent costs nobody else theirs: it is logged, and the chats stay archived. A server that hung up is
called again for the next mail; one that does not answer any more is left in peace.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.mail.backends.dummy import EmailBackend as NoMail

logger = structlog.get_logger(__name__)

TITLES = 25
"""Titles that a mail names; the rest is a number."""


def send_digests(archived: Mapping[Any, Sequence[str]], cutoff: datetime) -> int:
    """`archived`: an owner's primary key → titles of their chats. The number of mails sent."""
    if not archived:
        return 0
    owners = get_user_model()._default_manager.in_bulk(list(archived))
    server, sent = mail.get_connection(), 0
    if isinstance(server, NoMail):  # it would count what it drops
        return 0
    try:
        for number, (owner_id, titles) in enumerate(archived.items()):
            try:
                server.open()  # nothing, where it is open
            except Exception as error:  # whatever is the matter with it, the chats are archived
                logger.warning("digest.not_sent", owners=len(archived) - number, error=repr(error))
                break
            owner = owners.get(owner_id)
            address = getattr(owner, owner.get_email_field_name(), "") if owner is not None and owner.is_active else ""
            if not address:
                continue
            try:
                sent += mail.EmailMessage(*_text(owner, titles, cutoff), to=[address], connection=server).send()
            except Exception as error:  # the others get theirs
                logger.warning("digest.not_sent", owners=1, owner=str(owner_id), error=repr(error))
                _close(server)  # Django keeps a connection that is dead
    finally:
        _close(server)
    return sent


def _close(server: Any) -> None:
    with suppress(Exception):  # it may have hung up long ago
        server.close()


def _text(owner: Any, titles: Sequence[str], cutoff: datetime) -> tuple[str, str]:
    """Subject and body."""
    subject = "One chat was archived" if len(titles) == 1 else f"{len(titles)} chats were archived"
    named = [f"  - {' '.join(title.split()) or 'untitled'}" for title in titles[:TITLES]]
    if len(titles) > TITLES:
        named.append(f"  and {len(titles) - TITLES} more")
    paragraphs = [
        f"Hello {owner.get_username()},",
        f"{subject}, because nothing has happened there since {cutoff:%d %B %Y}:",
        "\n".join(named),
        "Nothing is lost: archived chats stay in your list, and you can bring each of them back from there.",
    ]
    return subject, "\n\n".join(paragraphs) + "\n"
