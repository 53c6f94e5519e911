"""`manage.py chat_diagram`: the state machine as Markdown, for docs/architecture.md."""

from typing import Any

from django.core.management.base import BaseCommand

from chat.diagram import markdown


class Command(BaseCommand):
    help = "Print the table and the diagram of the state machine as Markdown; docs/architecture.md holds its output."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(markdown())
