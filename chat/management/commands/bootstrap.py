"""`manage.py bootstrap`: what a fresh installation needs before anyone can chat; `./dev up` and compose run it."""

import json
import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from chat.catalogue import register_model
from chat.models import ApiToken, ChatModel

DEFAULT_MODELS = {
    "openai": "openai:gpt-5",
    "anthropic": "anthropic:claude-sonnet-4-5",
    "google": "google:gemini-2.5-pro",
}


class Command(BaseCommand):
    help = (
        "Register the demo model and the providers whose keys are set, and make the first superuser `admin` "
        "if there is no user yet. Its password and token are printed once and kept in credentials.json."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default="", help="where the web process answers; kept with the credentials")

    def handle(self, *args: Any, **options: Any) -> None:
        self._models()
        path = Path(settings.CHATD_DATA_DIR) / "credentials.json"
        if not get_user_model().objects.exists():
            self._first_user(path, options["url"])
        elif options["url"] and path.is_file():
            known = json.loads(path.read_text())
            _write(path, {**known, "url": options["url"]})

    def _models(self) -> None:
        register_model("demo:demo", kind="openai", base_url=settings.CHATD_DEMO_MODEL_URL)
        keys = {
            "openai": settings.OPENAI_API_KEY or ("none" if settings.OPENAI_BASE_URL else ""),
            "anthropic": settings.ANTHROPIC_API_KEY,
            "google": settings.GEMINI_API_KEY,
        }
        available = ["demo:demo"]
        for provider, key in keys.items():
            if key:
                base_url = settings.OPENAI_BASE_URL if provider == "openai" else ""
                model = register_model(DEFAULT_MODELS[provider], base_url=base_url, api_key=key)
                available.insert(-1, model.full_name)
                self.stdout.write(f"Model {model.full_name} is registered.")
        wanted = settings.CHATD_DEFAULT_MODEL
        current = ChatModel.objects.select_related("provider").filter(is_default=True).first()
        if wanted:
            register_model(wanted, default=True)
        elif current is None or (current.full_name == "demo:demo" and available[0] != "demo:demo"):
            register_model(available[0], default=True)

    def _first_user(self, path: Path, url: str) -> None:
        password = secrets.token_urlsafe(12)
        user = get_user_model().objects.create_superuser("admin", password=password)
        _, token = ApiToken.issue(user, "first")
        _write(path, {"username": "admin", "password": password, "token": token, "url": url})
        self.stdout.write("\nThe first superuser, shown this once:")
        self.stdout.write(f"  username  admin\n  password  {password}\n  API token {token}")
        self.stdout.write(f"  kept in   {path}\n")


def _write(path: Path, credentials: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    with open(temporary, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(credentials, file, indent=1)
    temporary.replace(path)
