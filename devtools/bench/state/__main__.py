"""The process that measures: `python -m devtools.bench.state FIGURES_FILE`, started by this package alone.

Its environment names a data directory of its own; loading Django starts Postgres and Redis there, and the end of this
process stops them. Progress goes to stdout, the log to stderr. SIGTERM ends it in good order.
"""

import json
import os
import signal
import sys
from pathlib import Path

INTERRUPTED = 130


def main(found: Path) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    print("starting Postgres and Redis …", flush=True)
    django.setup()
    from django.core.management import call_command

    from devtools.bench.state.measure import measure

    call_command("migrate", verbosity=0)
    found.write_text(json.dumps(measure()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
