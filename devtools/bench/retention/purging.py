"""A process that purges when told to, as a maintenance worker does, so that talkers share only the machine with it.

`python -m devtools.bench.retention.purging`: for each line of standard input, a number of seconds, it makes runs of
beat's size one after the other for as long, and answers with one line of JSON: chats, messages, seconds.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from devtools.project import PYTHON, ROOT

PURGE_DAYS = 1


class Purger:
    """The other side: the process, from here. Use as a context manager."""

    def __enter__(self) -> "Purger":
        self._process = subprocess.Popen(
            [PYTHON, "-m", "devtools.bench.retention.purging"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def purge(self, seconds: float) -> dict[str, float]:
        """Purge for so long; what was done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


def _purge(seconds: float) -> dict[str, Any]:
    from chat.retention.purge import purge

    begun, did = time.monotonic(), {"chats": 0, "messages": 0}
    while time.monotonic() < begun + seconds:
        run = purge(days=PURGE_DAYS)
        did = {name: number + run[name] for name, number in did.items()}
        if not run["chats"]:
            break  # nothing is left
    return {**did, "seconds": time.monotonic() - begun}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_purge(float(line))), flush=True)


if __name__ == "__main__":
    main()
