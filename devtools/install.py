"""Makes `.venv` and installs requirements.txt into it. Run by `./dev` with whatever Python there is, so it
imports only the standard library and nothing of this project.

Invariant: `.venv/requirements.installed`, a copy of what was installed, is written last. An installation
that was interrupted leaves `.venv/installing` behind and is done again from an empty folder, because a
package of which a part was copied looks installed. Two at once: the second waits for the first, by a lock
on this very file, which the kernel drops at any death.
On failure: one line that says what to do, and exit code 1.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements.txt"
STAMP = VENV / "requirements.installed"
INSTALLING = VENV / "installing"


def main() -> None:
    with Path(__file__).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./dev is installing; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if STAMP.exists() and STAMP.read_bytes() == REQUIREMENTS.read_bytes():
            return
        if not (VENV / "bin" / "python").exists() or INSTALLING.exists():
            make_venv(lock.fileno())
        install(lock.fileno())


def make_venv(lock: int) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    say(f"making .venv with Python {version}")
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    INSTALLING.touch()
    if run([sys.executable, "-m", "venv", str(VENV)], lock) != 0:
        sys.exit(
            "dev: Python could not make .venv (its message is above). On Debian and Ubuntu that needs "
            f"a package: apt install python{version}-venv. Then try again."
        )


def install(lock: int) -> None:
    wanted = REQUIREMENTS.read_bytes()
    packages = sum(line[:1].isalpha() for line in wanted.decode().splitlines())
    say(f"installing {packages} packages from requirements.txt (the first time takes a minute or two)")
    started = time.monotonic()
    INSTALLING.touch()
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    code = run([*pip, "--requirement", str(REQUIREMENTS)], lock)
    if code >= 0:  # not killed: it had the time to leave everything whole
        INSTALLING.unlink()
    if code != 0:
        sys.exit(
            "dev: the installation failed (pip's message is above). It needs the package index that pip is "
            "configured for: see to the network or to PIP_INDEX_URL, and try again."
        )
    part = STAMP.with_suffix(".part")
    part.write_bytes(wanted)
    part.replace(STAMP)
    say(f"installed in {time.monotonic() - started:.0f} s")


def run(command: list[str], lock: int) -> int:
    """Run with the lock held by the command too: a pip that outlives a killed ./dev keeps others out."""
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_INPUT": "1"}
    environment.pop("PYTHONPATH", None)
    try:
        return subprocess.run(command, env=environment, pass_fds=[lock], check=False).returncode
    except KeyboardInterrupt:
        sys.exit("dev: interrupted; the next ./dev begins the installation anew")


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
