"""Who is asking (API token or session), and which chats are theirs. Another user's chat does not exist."""

from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.security import SessionAuth as NinjaSessionAuth

from chat.errors import ChatNotFound, ChatRefusal
from chat.models import ApiToken, Chat
from chat.models.token import digest

_DIGITS = 18
"""Every number of so many digits fits into the column of an id; no id has more."""


class Unauthenticated(ChatRefusal):
    """Sign in, or send `Authorization: Bearer TOKEN`; `manage.py create_token USER` makes one."""

    code = "unauthenticated"
    status = 401


def user_of_token(token: str) -> Any | None:
    """The active user of an API token, or None."""
    row = ApiToken.objects.select_related("user").filter(digest=digest(token), user__is_active=True).first()
    return row.user if row else None


class TokenAuth(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> Any | None:
        user = user_of_token(token)
        if user is not None:
            request.user = user
        return user


class SessionAuth(NinjaSessionAuth):
    """Django's session cookie, with CSRF for what changes something; who is not signed in hears that first."""

    def __call__(self, request: HttpRequest) -> Any | None:
        if not _is_session_key(request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")):
            return None
        return super().__call__(request) if request.user.is_authenticated else None


def authenticate(authorization: str, cookie: str) -> Any:
    """The user of raw headers, for what does not run inside Django's middleware. Raises `Unauthenticated`."""
    scheme, _, token = authorization.partition(" ")
    user = user_of_token(token.strip()) if scheme.lower() == "bearer" else None
    if user is None and cookie:
        user = _user_of_session(cookie)
    if user is None:
        raise Unauthenticated()
    return user


def _user_of_session(cookie: str) -> Any | None:
    try:
        morsel = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    if morsel is None or not _is_session_key(morsel.value):
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(morsel.value)
    user = get_user(request)
    return user if user.is_authenticated else None


def _is_session_key(value: str) -> bool:
    """Whether it is worth asking the database, which refuses to look for NUL."""
    return value.isascii() and value.isalnum()


def owned_chat(user: Any, chat_id: str | UUID) -> UUID:
    """The id of the user's chat. Raises `ChatNotFound`, also for ids that are none."""
    try:
        known = UUID(str(chat_id))
    except ValueError:
        raise ChatNotFound() from None
    if not Chat.objects.filter(id=known, owner_id=user.pk).exists():
        raise ChatNotFound()
    return known


def row_id(text: str, refusal: type[ChatRefusal]) -> int:
    """The number in a path that names a message or a queued message. Raises `refusal` for what can name none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise refusal()
    return int(text)
