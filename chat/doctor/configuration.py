"""Settings: what Django's system checks say, the secret key, limits that contradict each other."""

import hashlib
import os
from collections.abc import Iterator

from django.conf import settings
from django.core.checks import WARNING, run_checks

from chat.capacity import Limits, limits
from chat.doctor.finding import Finding, Level, ok, problem, warning
from chat.doctor.site import Site


def settings_are_sound(site: Site) -> Iterator[Finding]:
    messages = [message for message in run_checks() if message.level >= WARNING and not message.is_silenced()]
    for message in messages:
        level = Level.PROBLEM if message.is_serious() else Level.WARNING
        yield Finding(level, f"{message.msg} ({message.id})", message.hint or "", {"id": message.id})
    if not messages:
        yield ok("manage.py check has nothing to say.")


def secret_key(site: Site) -> Iterator[Finding]:
    derived = laptops_key() == settings.SECRET_KEY
    set_it = "Set SECRET_KEY to a long random text. Keys of model providers must be entered again then."
    if derived and not settings.CHATD_EMBEDDED_POSTGRES:
        says = "SECRET_KEY is derived from this machine's name: other machines read neither sessions nor provider keys."
        yield warning(says, set_it) if settings.DEBUG else problem(says, set_it)
    elif len(settings.SECRET_KEY) < 32:
        yield warning(f"SECRET_KEY has only {len(settings.SECRET_KEY)} characters: it can be guessed.", set_it)
    elif derived:
        yield ok("SECRET_KEY is derived from this machine and data directory, as an embedded database allows.")
    else:
        yield ok("SECRET_KEY is set.")
    if settings.DEBUG and not settings.CHATD_EMBEDDED_POSTGRES:
        yield warning("DEBUG is on: errors show settings and source code to everybody.", "Unset DEBUG in production.")


def laptops_key() -> str:
    """What `config/settings.py` derives where SECRET_KEY is not set; a test compares."""
    return hashlib.sha256(f"chatd:{os.uname().nodename}:{settings.CHATD_DATA_DIR}".encode()).hexdigest()


def limits_agree(site: Site) -> Iterator[Finding]:
    said = []
    for kind, sub_agents in (("CHATS", False), ("SUB_AGENTS", True)):
        allowed = limits(sub_agents=sub_agents)
        if 0 < allowed.total < allowed.per_owner:
            yield warning(
                f"CHATD_MAX_{kind}_PER_OWNER is {allowed.per_owner}, CHATD_MAX_{kind} only {allowed.total}: "
                "one owner can take all places.",
                f"Lower CHATD_MAX_{kind}_PER_OWNER, or raise CHATD_MAX_{kind}.",
            )
        said.append(f"{kind.lower().replace('_', '-')}: {_in_words(allowed)}")
    yield ok("; ".join(said) + ".")


def _in_words(allowed: Limits) -> str:
    words = [
        f"{number} {name}"
        for number, name in ((allowed.total, "at a time"), (allowed.per_owner, "per owner"))
        if number
    ]
    return ", ".join(words) or "no limit"
