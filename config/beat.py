"""Celery's beat, ended between two ticks."""

import signal

from celery import beat
from celery.apps.beat import Beat as CelerysBeat


class Beat(CelerysBeat):
    def install_sync_handler(self, service: beat.Service) -> None:
        """SIGTERM and SIGINT are obeyed where the loop looks, once in CELERY_BEAT_MAX_LOOP_INTERVAL; the schedule is
        written there. Celery's own handler writes it at once: in the middle of a tick's query it then waits for ever
        for the connection that the tick below it holds.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
