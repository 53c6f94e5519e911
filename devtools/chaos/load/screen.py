"""What a person sees of one chat: events in, messages and live text out. Pure.

Also a strict reader: whatever the contract of the stream forbids is noted in `wrong`.
"""

from dataclasses import dataclass, field
from typing import Any

UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    role: str
    text: str
    revision: int
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Replaced:
    """The live text that was on the screen when the answer it led to arrived."""

    message_id: str
    live: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Live text that went away before its answer came. `episode`: history version and attempt that it was of."""

    episode: tuple[int, int]
    live: str


@dataclass(slots=True)
class Screen:
    messages: dict[str, Message] = field(default_factory=dict)
    status: str = ""
    queued: int = 0
    live: str = ""
    replaced: list[Replaced] = field(default_factory=list)
    taken_back: list[TakenBack] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _episode: tuple[int, int] = (0, 0)
    _seq: int = 0
    _is_saved: bool = False  # what is live has become a message; `preview_reset` will follow
    _status_follows: bool = False  # a message has come, and the status that goes with it not yet

    def receive(self, name: str, data: dict[str, Any]) -> None:
        """One event of the stream."""
        if name == "history_reset":
            self.messages.clear()
        elif name == "message":
            self._message(data["message"])
        elif name == "queue_update":
            self.queued = len(data["queue"])
        elif name == "status":
            self.status, self._status_follows = data["status"], False
        elif name == "preview_reset":
            self._forget_live()
        elif name == "message_part":
            self._part(data)

    def refuse(self, status: int) -> None:
        """The stream was refused with this status of HTTP; a server that cannot reach its database says 503."""
        what = f"the stream was refused with {status}"
        if status != UNAVAILABLE and what not in self.wrong:
            self.wrong.append(what)

    @property
    def is_idle(self) -> bool:
        return self.status in ("waiting", "error") and not self.queued and not self._status_follows

    @property
    def is_streaming(self) -> bool:
        return self.status == "running" and bool(self.live) and not self._is_saved

    def _message(self, shown: dict[str, Any]) -> None:
        message = Message(
            shown["id"], shown["role"], text_of(shown["parts"]), shown["revision"], bool(shown["interrupted"])
        )
        self.messages[message.id] = message
        self._status_follows = True
        if message.role == "assistant" and self._seq and not self._is_saved and message.revision > self._episode[0]:
            self.replaced.append(Replaced(message.id, self.live))
            self._is_saved = True

    def _part(self, data: dict[str, Any]) -> None:
        episode = data["history_version"], data["generation_attempt"]
        if episode != self._episode and self._seq:
            self.wrong.append(f"parts of episode {episode} after those of {self._episode}, without preview_reset")
            self._forget_live()
        self._episode = episode
        if data["seq"] != self._seq + 1:
            self.wrong.append(f"part {data['seq']} of episode {episode} came after part {self._seq}")
        if self._is_saved:
            self.wrong.append(f"part {data['seq']} of episode {episode} came after its answer was saved")
        self._seq = data["seq"]
        self.live += data["part"].get("text", "")

    def _forget_live(self) -> None:
        if self._seq and not self._is_saved:
            self.taken_back.append(TakenBack(self._episode, self.live))
        self.live, self._seq, self._is_saved = "", 0, False


def text_of(parts: list[dict[str, Any]]) -> str:
    return "".join(part["text"] for part in parts if part.get("type") == "text")
