"""Chatd's settings with a database that breaks and hints that get lost: `DJANGO_SETTINGS_MODULE` of a fault run.

Refuses to load without CHATD_CHAOS=1. With no faults asked for, everything is as in `config.settings`,
but that one chat worker of the fault suite reaches its servers through proxies.
"""

import os
import sys

from config.settings import *  # noqa: F403
from config.settings import DATABASES, INSTALLED_APPS
from devtools.chaos.injection.proxy import HOST
from devtools.chaos.injection.spec import BEHIND_PROXIES

if os.environ.get("CHATD_CHAOS") != "1":
    sys.exit("chatd: devtools.chaos.injection.settings breaks this system on purpose; a fault run sets CHATD_CHAOS=1.")

DATABASES["default"]["ENGINE"] = "devtools.chaos.injection.faulty_postgres"
INSTALLED_APPS = [*INSTALLED_APPS, "devtools.chaos.injection"]
SILENCED_SYSTEM_CHECKS = ["chatd.E003"]  # this engine is Postgres, with faults

if os.environ.get("CHATD_PROCESS") == BEHIND_PROXIES and "CHATD_CHAOS_POSTGRES_PORT" in os.environ:
    DATABASES["default"].update(HOST=HOST, PORT=os.environ["CHATD_CHAOS_POSTGRES_PORT"])
    CHATD_REDIS_URL = CELERY_BROKER_URL = f"redis://{HOST}:{os.environ['CHATD_CHAOS_REDIS_PORT']}/0"
