"""Makes Django see to its servers: whoever loads the apps (manage.py, Celery, ASGI, pytest) has Postgres
and Redis.

Knows only whether they are wanted. On failure the start ends with EmbeddedServerError, which says what to
do.
"""

import sys

from django.apps import AppConfig
from django.conf import settings

from config import embedded


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        if "mypy_django_plugin" in sys.modules:
            return  # the type checker loads the apps to read their models, and its exit skips all clean-up
        embedded.ensure_running(
            settings.CHATD_DATA_DIR,
            postgres=settings.CHATD_EMBEDDED_POSTGRES,
            redis=settings.CHATD_EMBEDDED_REDIS,
        )
