"""Fixtures of the integration tests alone."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def passwords_cost_nothing(settings: Any) -> None:
    """Django's own hash takes a tenth of a second for every user that a test makes."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
