"""A child process that does what its arguments say, for the supervisor's tests: `python -m … ROLE BEHAVIOUR`.

It says "ROLE up PID", and once told to end "ROLE ends".
"""

import os
import signal
import subprocess
import sys


def main(role: str, behaviour: str) -> None:
    def say(text: str) -> None:
        sys.stdout.write(f"{role} {text}\n")
        sys.stdout.flush()

    def end(*_: object) -> None:
        say("ends")
        if behaviour != "stubborn":
            sys.exit()

    if behaviour == "fails":
        say("has no luck")
        sys.exit(3)
    signal.signal(signal.SIGTERM, end)
    more = ""
    if behaviour == "parent":
        more = f" {subprocess.Popen(['sleep', '600']).pid}"
    say(f"up {os.getpid()}{more}")
    while True:
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
