"""A cancellation that got lost on its way.

`asyncio.wait_for` of Python 3.11, inside redis-py, may return although its task was cancelled. Whatever loops around a
call of Redis asks once in each round.
"""

import asyncio


def heed_cancellation() -> None:
    """Raise `CancelledError` in a task that was cancelled before and went on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
