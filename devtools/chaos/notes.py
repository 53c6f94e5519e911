"""What the processes of a stack write down themselves: each write that the fence refused, of whoever had lost its chat.

Every stack is started so that the crash point of a refusal notes it (`chat/crash.py`), and does nothing else. The file
is the same to which the injections write what landed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = "faults.jsonl"
REFUSAL = "door.fence_refused"


@dataclass(frozen=True, slots=True)
class Refusal:
    at: float
    """Seconds since the epoch."""
    process: str
    """The role of who wrote too late."""


def environment(folder: Path) -> dict[str, str]:
    """For all processes of a stack that is to write its notes into `folder`."""
    return {"CHATD_CHAOS": "1", "CHATD_CHAOS_DIR": str(folder), "CHATD_CRASH_POINTS": f"{REFUSAL}=note*"}


def refusals(folder: Path, *, since: float) -> list[Refusal]:
    """In the order in which they were noted."""
    file = folder / FILE
    if not file.exists():
        return []
    notes = [json.loads(line) for line in file.read_text().splitlines() if REFUSAL in line]
    return [Refusal(note["at"], note["process"]) for note in notes if note["at"] >= since]
