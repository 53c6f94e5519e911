"""`manage.py create_token USER`: a new API token, shown once."""

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from chat.models import ApiToken


class Command(BaseCommand):
    help = "Make an API token for a user and print it. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the user's name")
        parser.add_argument("--name", default="", help="what the token is for, to tell tokens apart")
        parser.add_argument("--dry-run", action="store_true", help="say for whom one would be made, make none")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        try:
            user = users._default_manager.get_by_natural_key(options["user"])
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['user']!r}. Make one: manage.py createsuperuser") from None
        made = {"id": None, "user": options["user"], "token": None}
        if not options["dry_run"]:
            row, token = ApiToken.issue(user, options["name"])
            made |= {"id": row.pk, "token": token}
        if options["json"]:
            self.stdout.write(json.dumps({"dry_run": options["dry_run"], **made}))
        else:
            self.stdout.write(made["token"] or f"Would make a token for {options['user']}.")
