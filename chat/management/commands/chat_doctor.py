"""`manage.py chat_doctor`: one line for each thing that must be right, and what to do where it is not."""

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from chat.doctor.examination import examine
from chat.doctor.finding import Finding, Level
from chat.doctor.site import Site
from chat.explain.situation import count
from chat.management.paragraphs import Paragraphs

EPILOG = """\
Changes nothing, and takes about three seconds; where beat is dead, eight. Servers that are down cost their own check,
and those that need them are skipped. What each line means: docs/troubleshooting.md.

Exit code: 0 all is well, perhaps with warnings; 1 there are problems.

Examples:
  manage.py chat_doctor
  manage.py chat_doctor --json | jq '.checks[] | select(.level == "problem")'
"""


class Command(BaseCommand):
    help = "Look at settings, servers, workers and chats, and say what is wrong and what to do about it."
    requires_system_checks = ()  # they are one of our lines, and must not keep us from printing the others

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object: ok, problems, warnings, checks, with figures"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        page = None if options["json"] else Paragraphs(self, [9, 15], colors=options["force_color"])
        found: list[tuple[str, Finding]] = []
        site = Site()
        try:
            for name, finding in examine(site):
                found.append((name, finding))
                if page:
                    self._print(page, name, finding)
        finally:
            site.close()
        levels = Counter(finding.level for _, finding in found)
        if page:
            self._summarize(page, levels)
        else:
            self.stdout.write(json.dumps(_as_json(found, levels), ensure_ascii=False, default=str))
        if levels[Level.PROBLEM]:
            sys.exit(1)

    def _print(self, page: Paragraphs, name: str, finding: Finding) -> None:
        looks = {
            Level.OK: page.style.SUCCESS,
            Level.WARNING: page.style.WARNING,
            Level.PROBLEM: page.style.ERROR,
            Level.SKIPPED: page.style.NOTICE,
        }
        todo = f"→ {finding.todo}" if finding.todo else ""
        page.write([str(finding.level), name], finding.says, todo, look=looks[finding.level])

    def _summarize(self, page: Paragraphs, levels: Counter[Level]) -> None:
        parts = [
            count(levels[Level.PROBLEM], "problem"),
            count(levels[Level.WARNING], "warning"),
            f"{levels[Level.OK]} ok",
            *([f"{levels[Level.SKIPPED]} not checked"] if levels[Level.SKIPPED] else []),
        ]
        self.stdout.write(f"\n{', '.join(parts)}.")


def _as_json(found: list[tuple[str, Finding]], levels: Counter[Level]) -> dict[str, Any]:
    return {
        "ok": not levels[Level.PROBLEM],
        "problems": levels[Level.PROBLEM],
        "warnings": levels[Level.WARNING],
        "skipped": levels[Level.SKIPPED],
        "checks": [
            {"check": name, "level": str(one.level), "says": one.says, "todo": one.todo, "figures": dict(one.figures)}
            for name, one in found
        ],
    }
