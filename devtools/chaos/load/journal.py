"""What was asked and what was told, written down outside the system under test.

"ok" must be there exactly once; "unknown" (the connection broke, or the server said that it does not know) may have
happened or not; "refused" and "unsent" must not have. The file is for people and for later; the oracle reads the
values.
"""

import enum
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from devtools.chaos.load.wording import Wording


class Outcome(enum.StrEnum):
    UNKNOWN = "unknown"
    OK = "ok"
    REFUSED = "refused"
    UNSENT = "unsent"


@dataclass(slots=True)
class Request:
    """One message. `how`: "create" (with a new chat), "queue", "interrupt"; `chat_id` is None while nobody knows it."""

    wording: Wording
    how: str
    chat_id: str | None
    asked_at: float
    """Seconds since the epoch."""
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    """Of HTTP; 0 without an answer."""
    told_at: float = 0.0

    @property
    def key(self) -> str:
        return self.wording.key


@dataclass(slots=True)
class Journal:
    file: TextIO | None = None
    requests: dict[str, Request] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Journal":
        return cls(path.open("a", buffering=1))

    def ask(self, wording: Wording, how: str, chat_id: str | None) -> Request:
        """Before it is sent."""
        request = self.requests[wording.key] = Request(wording, how, chat_id, time.time())
        self.note("asked", key=request.key, words=wording.words, how=how, chat_id=chat_id)
        return request

    def tell(self, request: Request, outcome: Outcome, status: int, chat_id: str | None = None) -> None:
        request.outcome, request.status, request.told_at = outcome, status, time.time()
        request.chat_id = chat_id or request.chat_id
        self.note("told", key=request.key, outcome=outcome, status=status, chat_id=request.chat_id)

    def note(self, event: str, **fields: Any) -> None:
        if self.file is not None:
            print(json.dumps({"event": event, "at": round(time.time(), 3), **fields}, default=_plain), file=self.file)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)
