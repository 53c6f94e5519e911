"""What a worker does again and again, for as long as it lives: an error is logged, and the next round tries again."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chat.cancellation import heed_cancellation

logger = structlog.get_logger(__name__)


async def repeat(
    name: str,
    action: Callable[[], Awaitable[object]],
    *,
    every: float,
    is_stopping: Callable[[], bool],
    at_once: bool = False,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run `action` every `every` seconds, counted from the end of the last round, until cancelled."""
    if not at_once:
        await sleep(every)
    while True:
        await attempt(name, action, is_stopping=is_stopping)
        heed_cancellation()
        await sleep(every)


async def attempt(name: str, action: Callable[[], Awaitable[object]], *, is_stopping: Callable[[], bool]) -> None:
    """One round; what goes wrong is logged and left to the next."""
    try:
        await action()
    except Exception as error:
        if should_log_loop_error(error, is_stopping=is_stopping()):
            logger.warning("loop.failed", loop=name, error=repr(error).strip())


def should_log_loop_error(error: BaseException | None, *, is_stopping: bool) -> bool:
    """Whether an error says anything: not if there is none, not if the loop is to stop, not if it is a cancellation.

    A group counts as a cancellation only if nothing else is in it: a real error beside a time-out is logged.
    """
    return error is not None and not is_stopping and not _is_only_cancellation(error)


def _is_only_cancellation(error: BaseException) -> bool:
    if isinstance(error, asyncio.CancelledError):
        return True
    if isinstance(error, BaseExceptionGroup):
        return all(_is_only_cancellation(one) for one in error.exceptions)
    return error.__cause__ is not None and _is_only_cancellation(error.__cause__)
