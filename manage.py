#!/usr/bin/env python
"""Django's command line; `./dev` prepares the environment it runs in."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here: use ./dev, or `.venv/bin/python manage.py …` after `./dev test`.")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
