"""Whom Postgres runs as. It refuses root, so when we are root it runs as the system user `pgserver` (the
name that the wheel's own library uses), which is made at the first need and can do nothing but own the
database files.

That user must reach the programs and the data, which may lie under a directory closed to it, such as /root.
The least that works is granted, only where it is missing, and logged: the right to pass (not to list, not
to read), to this one user, as an access control list on each closed directory; on a file system without
such lists, `chmod o+x`.
Not root: nothing of this happens, the servers run as ourselves.
"""

import logging
import os
import pwd
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded_servers.errors import EmbeddedServerError
from config.embedded_servers.traversal import allow_user_to_pass

logger = logging.getLogger(__name__)

NAME = "pgserver"
INSTEAD = "or run as another user than root, or set DATABASE_URL to a Postgres of yours."


@dataclass(frozen=True)
class SystemUser:
    uid: int
    gid: int


def for_servers() -> SystemUser | None:
    """The user that Postgres runs as, made if missing; None for ourselves."""
    if os.geteuid() != 0:
        return None
    return _find() or _make()


def _find() -> SystemUser | None:
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return None
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _make() -> SystemUser:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", NAME]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
    except OSError as error:
        said = str(error)
    made = _find()  # also when another process made it at the same moment
    if made is None:
        raise EmbeddedServerError(
            f"Postgres does not run as root, and the system user {NAME!r} could not be made: {said}",
            to_do=f"make that user yourself ({' '.join(command)}), {INSTEAD}",
        )
    return made


def give(user: SystemUser | None, path: Path) -> None:
    """Make `user` the owner of a file or directory that we made for it."""
    if user is not None:
        os.chown(path, user.uid, user.gid)


def private_directory(user: SystemUser | None, path: Path) -> None:
    """A directory that only `user` may enter, made if missing; one that others made is refused."""
    owner = user.uid if user else os.geteuid()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        give(user, path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise EmbeddedServerError(
            f"{path} must be a directory of user {owner} with mode 700, and is not.",
            to_do="see who made it; remove it and start again.",
        )


def let_pass(user: SystemUser, directories: Sequence[Path], trees: Sequence[Path]) -> None:
    """Make sure that `user` can pass to `directories` and read and execute everything in `trees`."""
    for path in [*directories, *trees]:
        if _can(user, "-x", path):
            continue
        for closed in reversed([path, *path.parents]):
            if not _can(user, "-x", closed):
                how = allow_user_to_pass(closed, user.uid)
                level = logging.INFO if closed in directories else logging.WARNING  # ours, or somebody's
                logger.log(level, "embedded.traversal_granted path=%s user=%s how=%s", closed, NAME, how)
        if not _can(user, "-x", path):
            raise EmbeddedServerError(
                f"The system user {NAME!r} cannot reach {path}.",
                to_do=f"move the project or CHATD_DATA_DIR to where it can, {INSTEAD}",
            )
    for tree in trees:
        if not _can_read_all(user, tree):
            for path in [tree, *tree.rglob("*")]:
                if not path.is_symlink():
                    # As after an installation with the usual umask: readable by all, writable by the owner.
                    path.chmod(path.stat().st_mode | (0o055 if path.stat().st_mode & stat.S_IXUSR else 0o044))


def _can_read_all(user: SystemUser, tree: Path) -> bool:
    """Judged by the tree and one file in it: an installation with umask 077 closes everything."""
    sample = next(path for path in tree.rglob("*") if path.is_file())
    return _can(user, "-r", tree) and _can(user, "-r", sample)


def _can(user: SystemUser, right: str, path: Path) -> bool:
    """Ask the kernel, as that user: it knows every kind of permission there is."""
    try:
        asked = subprocess.run(
            ["/bin/sh", "-c", 'test "$1" "$2"', "sh", right, str(path)],
            cwd="/",
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            check=False,
        )
    except PermissionError:
        raise EmbeddedServerError(
            f"Postgres does not run as root, and this root may not become another user ({NAME!r}).",
            to_do=f"give the container the capabilities SETUID and SETGID, {INSTEAD}",
        ) from None
    return asked.returncode == 0
