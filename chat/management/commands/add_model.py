"""`manage.py add_model PROVIDER:NAME`: a model in the catalogue."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from chat.catalogue import register_model


class Command(BaseCommand):
    help = "Add a model to the catalogue, or change how it is reached. Models are named PROVIDER:NAME everywhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="PROVIDER:NAME", help="for example openai:gpt-5")
        parser.add_argument("--kind", choices=["openai", "anthropic", "google"], help="the protocol that it speaks")
        parser.add_argument("--base-url", default="", help="for servers other than the provider's own")
        parser.add_argument("--api-key-env", metavar="VAR", help="take the key from this environment variable")
        parser.add_argument("--default", action="store_true", help="new chats use this model")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        key = None
        if options["api_key_env"]:
            key = os.environ.get(options["api_key_env"])
            if not key:
                raise CommandError(f"The environment variable {options['api_key_env']} is not set or empty.")
        try:
            with transaction.atomic():
                model = register_model(
                    options["model"],
                    kind=options["kind"],
                    base_url=options["base_url"],
                    api_key=key,
                    default=options["default"],
                )
                said = f"{model.full_name}{' (default)' if model.is_default else ''}"
                transaction.set_rollback(options["dry_run"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{'Would add' if options['dry_run'] else 'Added'} {said}.")
