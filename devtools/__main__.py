"""The command line behind `./dev`. A command is a module with `main(arguments) -> exit code`; to add one,
add it to COMMANDS. Only the module of the command that is called is imported.
"""

import importlib
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    module: str
    does: str


COMMANDS = {
    "up": Command("devtools.up", "start everything and follow its log; Ctrl-C stops everything"),
    "down": Command("devtools.down", "stop what `up` started"),
    "status": Command("devtools.status", "each process with its role and pid"),
    "test": Command("devtools.checks", "static checks and the test suite"),
    "chaos": Command("devtools.chaos", "break a Chatd of its own, on purpose and by seed, and judge what is left"),
    "bench": Command("devtools.bench", "measure a Chatd of its own: how long a turn takes, turns per second"),
}

HELP = """\
Usage: ./dev COMMAND [OPTIONS]

Commands:
{commands}

Examples:
  ./dev up                       the whole system on http://127.0.0.1:8000, from nothing
  ./dev up --port 8080 --workers 2 --detach
  ./dev status --json
  ./dev test tests/unit -k table
  ./dev COMMAND --help           the options of a command
"""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        rows = [f"  {name:<{width}}   {command.does}" for name, command in COMMANDS.items()]
        print(HELP.format(commands="\n".join(rows)), end="")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"dev: there is no command {name!r}; `./dev --help` lists them", file=sys.stderr)
        return 2
    exit_code: int = importlib.import_module(COMMANDS[name].module).main(rest)
    return exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
