"""Encrypts what must be readable again (provider keys) with a key derived from SECRET_KEY (Fernet)."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class SecretUnreadable(Exception):
    """A stored key cannot be read: SECRET_KEY changed since it was saved. Save the key again."""


def encrypt(clear: str) -> str:
    return _fernet().encrypt(clear.encode()).decode() if clear else ""


def decrypt(stored: str) -> str:
    if not stored:
        return ""
    try:
        return _fernet().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable(SecretUnreadable.__doc__) from error


def _fernet() -> Fernet:
    key = hashlib.scrypt(settings.SECRET_KEY.encode(), salt=b"chatd provider keys", n=2**10, r=8, p=1, dklen=32)
    return Fernet(base64.urlsafe_b64encode(key))
