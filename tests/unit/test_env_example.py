"""`.env.example` lists every variable that the settings read."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERNAL = {"CHATD_PROCESS"}  # set by whoever starts a process, not by a person


def test_every_variable_that_the_settings_read_is_in_the_example() -> None:
    read = set(re.findall(r'\benv\.[a-z]+\(\s*"([A-Z_]+)"', (ROOT / "config" / "settings.py").read_text()))
    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert read, "the pattern no longer matches how the settings read the environment"
    assert read - INTERNAL - listed == set()
