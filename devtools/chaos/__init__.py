"""`./dev chaos`: the fault suite, on real processes. Seeded, so that a schedule can be replayed.

The way of the data: `options` → `faults` (what there is) → `schedule` (which blows, from the seed) → `campaign` (one
fault: `load` talks, `strikes` hit the `target`, everything comes to rest, `collect` reads) → `oracle` (findings) and
`measures` (figures) → `report`. `audit` is a trigger that writes down every committed change of a chat; `preloaded`
lets a signal block a process. Faults that need the same settings share a stack.
"""

import asyncio
import itertools
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.chaos import options
from devtools.chaos.faults import Fault


def main(arguments: list[str]) -> int:
    if "--mutations" in arguments:
        from devtools.chaos import mutations

        return mutations.main(arguments)
    if "--hints" in arguments:
        from devtools.chaos.injection import latency

        return latency.main(arguments)
    chosen = options.parse(arguments)
    if chosen.only_list:
        _list()
        return 0
    signal.signal(signal.SIGTERM, _interrupt)  # so that what was started is ended
    return _run(chosen)


def _list() -> None:
    from devtools.chaos.faults import FAULTS

    width = max(map(len, FAULTS))
    for fault in FAULTS.values():
        runs = "/".join(map(str, fault.runs))
        print(f"{fault.name:<{width}}  {fault.does}.\n{'':{width}}  Holds: {fault.holds}.")
        print(f"{'':{width}}  Runs, short/default/full: {runs}.\n")


def _run(chosen: options.Options) -> int:
    from devtools.chaos import report

    folder = Path(tempfile.mkdtemp(prefix="chatd-chaos-"))
    _say(f"seed {chosen.seed}; everything is in {folder}")
    results = []
    for profile, faults in itertools.groupby(
        sorted(_possible(chosen.faults), key=lambda fault: fault.profile.name), key=lambda fault: fault.profile
    ):
        _say(f"starting a Chatd with the settings “{profile.name}” …")
        with _target(folder / profile.name.replace(" ", "-"), profile) as target:
            if chosen.size is not options.Size.SHORT:
                _warm_up(target, chosen)
            results += [_one(target, fault, chosen, folder) for fault in faults]
    figures = report.summary(results, chosen.seed)
    (folder / "report.json").write_text(json.dumps(figures, indent=2))
    print(f"\n{report.table(results)}\n")
    for line in report.aims(results):
        print(f"aim missed: {line}")
    broken = report.findings(results)
    for line in broken:
        print(f"BROKEN  {line}")
    if broken:
        print(f"replay with: --seed {chosen.seed}; what was asked, told and logged is in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"every invariant held; seed {chosen.seed}")
    if chosen.as_json:
        print(json.dumps(figures))
    return 1 if broken else 0


def _possible(faults: Sequence[Fault]) -> Iterator[Fault]:
    """Those that this machine can do; says which it cannot."""
    from devtools.chaos.injection.handles import can_shift_clocks

    for fault in faults:
        if fault.needs_compiler and not can_shift_clocks():
            _say(f"{fault.name}: left out, it needs Linux and a C compiler (Debian, Ubuntu: apt install gcc libc6-dev)")
        else:
            yield fault


def _warm_up(target: Any, chosen: options.Options) -> None:
    from devtools.chaos import campaign

    if not asyncio.run(campaign.warm_up(target, chats=chosen.chats)):
        _say("the warm-up did not come to rest in time: what processes hold is compared with that all the same")


def _one(target: Any, fault: Any, chosen: options.Options, folder: Path) -> Any:
    from devtools.chaos import campaign
    from devtools.chaos.schedule import schedule

    runs = chosen.runs_of(fault)
    plan = schedule(fault, runs, chosen.seed, long=chosen.size is options.Size.FULL)
    _say(f"{fault.name}: {fault.does}; {runs} times")
    result = asyncio.run(
        campaign.run(
            target, fault, plan, seed=chosen.seed, journal_path=folder / f"{fault.name}.jsonl", say=_say,
            chats=chosen.chats,
        )
    )  # fmt: skip
    _say(f"{fault.name}: {len(result.findings)} findings, {result.cost.answers} answers in {result.seconds:.0f} s")
    return result


@contextmanager
def _target(folder: Path, profile: Any) -> Iterator[Any]:
    from devtools.chaos.stack import running_target

    with running_target(folder, profile) as target:
        yield target


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
