"""A stack for the fault suite: two chat workers, restarts without growing delays, the audit, and signals that block."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config import embedded
from devtools.chaos import notes
from devtools.chaos.faults import Profile
from devtools.chaos.injection.handles import prepared
from devtools.chaos.strikes.workers import BLOCK_FOR
from devtools.chaos.target import CHAT_WORKERS, Target
from devtools.stack import running_stack

PRELOADED = Path(__file__).parent / "preloaded"
READY_WITHIN = 60.0
RESTART_WITHIN = 0.2


@contextmanager
def running_target(folder: Path, profile: Profile) -> Iterator[Target]:
    """A system of its own under `folder`, whole and watched. Raises `StackFailed`, `TimeoutError`."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "injected"
    settings = {**profile.settings, BLOCK_FOR: str(folder / "block-for"), "PYTHONPATH": str(PRELOADED)}
    settings |= notes.environment(noted, lingers=profile.lingers)
    data_dir, roles = folder / "data", [f"chat-worker-{number + 1}" for number in range(CHAT_WORKERS)]
    with ExitStack() as opened:
        injections = None
        if profile.injected:
            injections, more = opened.enter_context(prepared(noted, embedded.addresses(data_dir), roles))
            settings |= more
        stack = opened.enter_context(
            running_stack(data_dir, workers=CHAT_WORKERS, restart_within=RESTART_WITHIN, **settings)
        )
        target = Target(stack, profile, noted, injections)
        asyncio.run(_prepare(target))
        yield target


async def _prepare(target: Target) -> None:
    if missing := await target.whole(within=READY_WITHIN):
        raise TimeoutError(f"the system was not whole after {READY_WITHIN:g} s: {missing}")
    await target.install_audit()
