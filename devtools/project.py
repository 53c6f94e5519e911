"""Where the project lies and how it is configured, as the commands need it.

Reads the same settings as every other process, without loading the apps: that would start the embedded
servers.
On failure (a wrong value in the environment or .env): the settings' own one-line message, exit code 1.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


def data_dir() -> Path:
    """CHATD_DATA_DIR, from the environment, .env or the default; made if missing."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings

    path: Path = settings.CHATD_DATA_DIR
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def embedded_wanted() -> tuple[bool, bool]:
    """Whether Postgres and Redis are ours: no DATABASE_URL, no REDIS_URL."""
    from django.conf import settings

    return settings.CHATD_EMBEDDED_POSTGRES, settings.CHATD_EMBEDDED_REDIS


def drain_lasts() -> float:
    """Seconds that a chat worker may take to hand over its chats."""
    from django.conf import settings

    return float(settings.CHATD_DRAIN_TIMEOUT)


def collects_static() -> bool:
    """Whether static files are served from a folder; with WHITENOISE_USE_FINDERS they come from the
    packages.
    """
    from django.conf import settings

    return not getattr(settings, "WHITENOISE_USE_FINDERS", False)
