"""A stack for the fault suite: two chat workers, restarts without growing delays, the audit, and signals that block."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devtools.chaos.faults import Profile
from devtools.chaos.strikes import BLOCK_FOR, PRELOADED
from devtools.chaos.target import CHAT_WORKERS, Target
from devtools.stack import running_stack

READY_WITHIN = 60.0
RESTART_WITHIN = 0.2


@contextmanager
def running_target(folder: Path, profile: Profile) -> Iterator[Target]:
    """A system of its own under `folder`, whole and watched. Raises `StackFailed`, `TimeoutError`."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**profile.settings, BLOCK_FOR: str(folder / "block-for"), "PYTHONPATH": str(PRELOADED)}
    with running_stack(folder / "data", workers=CHAT_WORKERS, restart_within=RESTART_WITHIN, **settings) as stack:
        target = Target(stack, profile)
        asyncio.run(_prepare(target))
        yield target


async def _prepare(target: Target) -> None:
    if missing := await target.whole(within=READY_WITHIN):
        raise TimeoutError(f"the system was not whole after {READY_WITHIN:g} s: {missing}")
    await target.install_audit()
