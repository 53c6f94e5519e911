"""What the processes of a stack write down themselves: each write that the fence refused, of whoever had lost its chat.

Every stack is started so that the crash point of a refusal notes it (`chat/crash.py`). Those whose workers fall asleep
also note where an answer is about to be written, and hesitate there for a moment. The file is the same to which the
injections write what landed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = "faults.jsonl"
REFUSAL = "door.fence_refused"
LINGERS_AT = "answer.commit.before"
LINGERS = f"chat-worker:{LINGERS_AT}=sleep:0.2@4*"
"""Every fourth answer of a chat worker is complete for so many seconds, and noted, before it is written: whoever falls
asleep then writes the moment it wakes up. Without, a sleeper is nearly always stopped by its own clock first.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    at: float
    """Seconds since the epoch."""
    process: str
    """The role of who wrote too late."""


def environment(folder: Path, *, lingers: bool = False) -> dict[str, str]:
    """For all processes of a stack that is to write its notes into `folder`."""
    points = f"{REFUSAL}=note*" + (f"; {LINGERS}" if lingers else "")
    return {"CHATD_CHAOS": "1", "CHATD_CHAOS_DIR": str(folder), "CHATD_CRASH_POINTS": points}


def refusals(folder: Path, *, since: float) -> list[Refusal]:
    """In the order in which they were noted."""
    notes = [json.loads(line) for line in _lines(folder) if REFUSAL in line]
    return [Refusal(note["at"], note["process"]) for note in notes if note["at"] >= since]


def times_lingered(folder: Path, process: str) -> int:
    """How often the process of this role has hesitated so far."""
    return sum(LINGERS_AT in line and f'"process": "{process}"' in line for line in _lines(folder))


def _lines(folder: Path) -> list[str]:
    file = folder / FILE
    return file.read_text().splitlines() if file.exists() else []
