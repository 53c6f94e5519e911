"""The right to pass through one directory, given to one user: a POSIX access control list, written in the
kernel's format (linux/posix_acl_xattr.h), because `setfacl` is often not installed.

Knows nothing of who needs it. Undo with `setfacl -x u:USER DIRECTORY`.
"""

import errno
import os
import stat
import struct
from pathlib import Path

ATTRIBUTE = "system.posix_acl_access"
VERSION = 2
OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
PASS = 0x1
NOBODY_IN_PARTICULAR = 0xFFFFFFFF

Entry = tuple[int, int, int]  # tag, permissions, id


def allow_user_to_pass(directory: Path, uid: int) -> str:
    """Let `uid` pass through `directory`. Returns how: "acl", or "chmod o+x" where lists are unknown."""
    try:
        entries = with_pass_for(_read(directory), uid)
        os.setxattr(directory, ATTRIBUTE, _encode(entries))
    except AttributeError:  # not Linux
        pass
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS):
            raise
    else:
        return "acl"
    directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    return "chmod o+x"


def with_pass_for(entries: list[Entry], uid: int) -> list[Entry]:
    """The list with one user more who may pass; nobody else gains or loses a right that the mask did not
    hide.
    """
    own = next((allowed for tag, allowed, whose in entries if (tag, whose) == (USER, uid)), 0)
    mask = next((allowed for tag, allowed, _ in entries if tag == MASK), None)
    if mask is None:
        mask = next(allowed for tag, allowed, _ in entries if tag == GROUP)
    kept = [entry for entry in entries if entry[0] != MASK and (entry[0], entry[2]) != (USER, uid)]
    return sorted(
        [*kept, (USER, own | PASS, uid), (MASK, mask | PASS, NOBODY_IN_PARTICULAR)],
        key=lambda entry: (entry[0], entry[2]),
    )


def _read(directory: Path) -> list[Entry]:
    try:
        encoded = os.getxattr(directory, ATTRIBUTE)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        mode = directory.stat().st_mode
        shifts = {OWNER: 6, GROUP: 3, OTHERS: 0}
        return [(tag, mode >> shift & 0o7, NOBODY_IN_PARTICULAR) for tag, shift in shifts.items()]
    return list(struct.iter_unpack("<HHI", encoded[4:]))


def _encode(entries: list[Entry]) -> bytes:
    return struct.pack("<I", VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
