"""How the parts are put together: settings, urls, servers, queues, logs. `celery -A config` finds the app here."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
