"""The web process: live streams have an application of their own (`chat/stream/`), Django has everything else."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("CHATD_PROCESS", "web")

import django

django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402  (what follows needs the apps loaded)

from chat.stream.app import StreamApplication  # noqa: E402
from config.handler import ThreadedHandler  # noqa: E402

application = StreamApplication(otherwise=ThreadedHandler(threads=settings.CHATD_WEB_CONNECTIONS))
