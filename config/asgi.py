"""The web process: Django for everything, except live streams, which bypass its threads (`chat/stream/`)."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("CHATD_PROCESS", "web")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from chat.stream.app import StreamApplication  # noqa: E402  (needs the apps loaded)

application = StreamApplication(otherwise=django_application)
