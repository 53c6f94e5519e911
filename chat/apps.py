from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.core.checks import register

        from chat.checks import check_settings

        register(check_settings, "chatd")
        from chat import crash  # noqa: F401  a process that is to break by accident refuses to start
