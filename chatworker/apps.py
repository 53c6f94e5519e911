from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ChatWorkerConfig(AppConfig):
    name = "chatworker"

    def ready(self) -> None:
        from chatworker.schedule import ensure_schedule

        post_migrate.connect(ensure_schedule, sender=self, dispatch_uid="chatworker.schedule")
