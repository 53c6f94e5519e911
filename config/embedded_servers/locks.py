"""Who uses the embedded servers, and who may start or stop them: two kernel locks (flock) in the data
directory.

`embedded.lock` is held shared by every user for as long as it lives; the kernel drops it at any kind of
death, and programs that a user executes do not inherit it. `embedded.start.lock` is held exclusively while
servers start or stop.
Invariant: the users' lock is taken exclusively only under the start lock, so a shared hold never has to
wait. A forked child gets a hold of its own, taken before the fork, because a lock that it shared with its parent
would end with neither or both.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.embedded_servers.errors import EmbeddedServerError
from config.embedded_servers.layout import Layout

LOOK_EVERY = 0.02  # seconds


@dataclass
class _Hold:
    descriptor: int
    pid: int


_holds: dict[Path, _Hold] = {}
_holds_guard = threading.Lock()
_of_child: dict[Path, int] = {}
"""While this process forks: path → descriptor."""
_one_fork_at_a_time = threading.Lock()


@contextmanager
def starting_or_stopping(layout: Layout, give_up_after: float = 120) -> Iterator[None]:
    """The right to start and stop servers; one holder at a time on the whole machine."""
    try:
        descriptor = os.open(layout.start_lock, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError:
        raise EmbeddedServerError(
            f"{layout.data_dir} belongs to another user.",
            to_do="work as that user, remove the directory, or set CHATD_DATA_DIR to one of your own.",
        ) from None
    try:
        deadline = time.monotonic() + give_up_after
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Another process has been starting or stopping the servers in {layout.data_dir} "
                    f"for {give_up_after:.0f} s.",
                    to_do=f"see who it is with `fuser {layout.start_lock}`, end it, and try again.",
                )
            time.sleep(LOOK_EVERY)
        yield
    finally:
        os.close(descriptor)


def hold(layout: Layout) -> bool:
    """Count this process among the users until it ends. True the first time. Under the start lock."""
    with _holds_guard:
        if layout.users_lock in _holds:
            return False
        _holds[layout.users_lock] = _Hold(_shared(layout.users_lock), os.getpid())
        return True


def is_ours(layout: Layout, pid: int) -> bool:
    """Whether process `pid` holds; a child that forked without our knowledge does not."""
    held = _holds.get(layout.users_lock)
    return held is not None and held.pid == pid


def release_as_last(layout: Layout) -> bool:
    """Stop being a user; True if there is no other. Under the start lock."""
    with _holds_guard:
        held = _holds.pop(layout.users_lock)
        try:
            return _try_lock(held.descriptor, fcntl.LOCK_EX)
        finally:
            os.close(held.descriptor)


@contextmanager
def alone(layout: Layout) -> Iterator[bool]:
    """Whether no process at all, this one included, uses the servers. Under the start lock."""
    descriptor = os.open(layout.users_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _shared(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hold_for_child() -> None:
    """Before a fork: the hold that the child will have, so that it counts from its first moment on."""
    _one_fork_at_a_time.acquire()
    for path in list(_holds):
        with suppress(OSError):  # the data directory is gone: there is nothing to hold
            _of_child[path] = _shared(path)


def _leave_to_child() -> None:
    while _of_child:
        os.close(_of_child.popitem()[1])  # the child has it open, so it stays held
    _one_fork_at_a_time.release()


def _take_over_in_child() -> None:
    global _holds_guard, _one_fork_at_a_time
    _holds_guard, _one_fork_at_a_time = threading.Lock(), threading.Lock()
    for held in _holds.values():
        os.close(held.descriptor)  # the parent's
    _holds.clear()
    while _of_child:
        path, descriptor = _of_child.popitem()
        _holds[path] = _Hold(descriptor, os.getpid())


os.register_at_fork(before=_hold_for_child, after_in_parent=_leave_to_child, after_in_child=_take_over_in_child)
