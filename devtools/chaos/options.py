"""The options of `./dev chaos`."""

import argparse
import random
from dataclasses import dataclass

from devtools.chaos.faults import FAULTS, Fault, Size

DESCRIPTION = "Break a Chatd of its own, on purpose, while people talk to it, and judge what is left."
EPILOG = (
    "Exit code 1 if an invariant broke: docs/chaos.md lists them. The seed is printed; --seed replays the schedule. "
    "What was asked, told and found is kept in a folder whose name is printed if something broke."
)


@dataclass(frozen=True)
class Options:
    faults: tuple[Fault, ...]
    runs: int | None
    size: Size
    seed: int
    as_json: bool
    only_list: bool
    chats: int

    def runs_of(self, fault: Fault) -> int:
        return fault.runs_in(self.size) if self.runs is None else self.runs


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--fault", action="append", choices=sorted(FAULTS), metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="how often each fault is struck")
    parser.add_argument("--seed", type=int, metavar="S", help="of the schedule; drawn unless given")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--short", action="store_true", help="as few runs as say anything")
    sizes.add_argument("--full", action="store_true", help="the runs that the figures in docs/chaos.md are from")
    parser.add_argument("--chats", type=int, default=20, metavar="N", help="that stream at the same time (20)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--list", action="store_true", help="the faults, and what must hold")
    parser.add_argument(
        "--mutations",
        action="store_true",
        help="instead: remove each guard once and see tests fail (--only WORDS; --markdown prints the table)",
    )
    parser.add_argument(
        "--hints", action="store_true", help="instead: how much slower it is with hints lost, doubled, late (--turns N)"
    )
    found = parser.parse_args(arguments)
    if found.runs is not None and found.runs < 1:
        parser.error("--runs: at least 1")
    if found.chats < 1:
        parser.error("--chats: at least 1")
    size = Size.SHORT if found.short else Size.FULL if found.full else Size.DEFAULT
    wanted = [FAULTS[name] for name in dict.fromkeys(found.fault or FAULTS)]
    return Options(
        faults=tuple(fault for fault in wanted if found.fault or found.runs or fault.runs_in(size)),
        runs=found.runs if found.runs else None,
        size=size,
        seed=random.SystemRandom().randrange(10**6) if found.seed is None else found.seed,
        as_json=found.json,
        only_list=found.list,
        chats=found.chats,
    )
