"""API tokens: kept as a hash, shown once. A token is random (256 bits), so a fast hash is enough."""

import hashlib
import secrets

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

_PREFIX = "chatd_"


class ApiToken(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=16, editable=False, help_text="The token's first characters.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.hint}… of {self.user}"

    @classmethod
    def issue(cls, user: object, name: str = "") -> tuple["ApiToken", str]:
        """A new token for `user`: the row, and the token itself, which is readable only now."""
        token = _PREFIX + secrets.token_urlsafe(32)
        row = cls.objects.create(user=user, name=name, digest=digest(token), hint=token[:12])
        return row, token


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
