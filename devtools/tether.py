"""Ties a program to the process that starts it: `python -m devtools.tether PARENT_PID PROGRAM [ARGUMENTS]`
asks the kernel to send SIGTERM when the parent dies, then becomes PROGRAM, with the same pid. So a
supervisor killed with SIGKILL takes its children with it, and they end in good order (the last one stops
the embedded servers).

Linux only (prctl). Elsewhere children of a killed supervisor stay until the next `./dev up` or `./dev
down`, which end what `.data/dev.json` lists. The kernel means the *thread* that started the child, so start
it from the main thread.
"""

import ctypes
import os
import signal
import sys

SET_SIGNAL_ON_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def main(parent: int, program: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_SIGNAL_ON_DEATH_OF_PARENT, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
