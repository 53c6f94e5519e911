"""What an open update intends: rows to add to a chat's history, rows to hide from it, and the new order of its queue.

Transitions work on these drafts alone; the door (`chat/update.py`) writes them when the block ends, each kind of row in
one statement. The drafts keep the version columns true as they go, and the history well-formed: nothing is appended
that would leave a tool call without its one result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from chat import content
from chat.errors import HistoryNotWellFormed, MessageInvalid, PositionInvalid, QueuedMessageNotFound, QueueFull
from chat.models import Chat, ChatMessage, QueuedMessage


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that is to enter a history."""

    role: str
    parts: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    usage: dict[str, Any] | None = None
    interrupted: bool = False
    visibility: str = "both"
    compressed: bool = False


class HistoryDraft:
    """The history's end, with what this update adds and deletes.

    `tail`: (role, parts) of the stored rows from the last assistant message on; all that well-formedness asks for.
    """

    def __init__(self, chat: Chat, tail: list[tuple[str, Any]]) -> None:
        self._chat = chat
        self._tail = tail
        self.added: list[ChatMessage] = []
        self.deleted_from: int | None = None

    def append(self, message: NewMessage) -> ChatMessage:
        """Add a message made elsewhere. Raises `MessageInvalid`, and `HistoryNotWellFormed` for a tool message that
        answers no open call, and for any other message while a call is open.
        """
        if not message.parts:
            raise MessageInvalid("A message has at least one part.")
        waiting = [call["tool_call_id"] for call in self.outstanding_calls()]
        if message.role != "tool" and waiting:
            raise HistoryNotWellFormed(outstanding=waiting)
        if message.role == "tool":
            _require_calls_for(message, set(waiting))
        return self.add(
            message.role,
            message.parts,
            model=message.model,
            usage=message.usage,
            interrupted=message.interrupted,
            visibility=message.visibility,
            compressed=message.compressed,
        )

    def add(self, role: str, parts: Sequence[dict[str, Any]], **fields: Any) -> ChatMessage:
        """A new row at the end: a new history version, so attempts begin anew."""
        message = ChatMessage(
            chat_id=self._chat.pk, role=role, parts=list(parts), content_version=content.CONTENT_VERSION, **fields
        )
        self.added.append(message)
        self._tail.append((role, message.parts))
        self.begin_version()
        return message

    def delete_from(self, message_id: int, tail_before: list[tuple[str, Any]]) -> None:
        """Everything from the stored message on is hidden, what this update added included."""
        self.deleted_from = message_id
        self.added.clear()
        self._tail = tail_before
        self.begin_version()

    def hides(self, message_id: int) -> bool:
        """Whether this update has deleted the stored message already."""
        return self.deleted_from is not None and message_id >= self.deleted_from

    def begin_version(self) -> None:
        self._chat.history_version = self._chat.snapshot_version
        self._chat.generation_attempt = 0
        self._chat.retry_state = None

    def outstanding_calls(self) -> list[dict[str, Any]]:
        """Tool calls of the last assistant message, also of one added here, that have no result yet."""
        return content.outstanding_calls(self._tail)

    def client_calls(self) -> list[dict[str, Any]]:
        """The outstanding calls that the chat's client answers."""
        names = {tool["name"] for tool in self._chat.client_tools}
        return [call for call in self.outstanding_calls() if call["tool_name"] in names]

    def close_calls(self, calls: Sequence[dict[str, Any]], reason: str) -> None:
        """One synthetic error result for each of these outstanding calls."""
        for call in calls:
            self.add("tool", [content.tool_result(call, reason, is_error=True, synthetic=True)])


def _require_calls_for(message: NewMessage, waiting: set[str]) -> None:
    for part in message.parts:
        if part.get("type") != "tool_result":
            continue
        if part["tool_call_id"] not in waiting:
            raise HistoryNotWellFormed(unexpected=part["tool_call_id"])
        waiting.discard(part["tool_call_id"])


class QueueDraft:
    """The queue in its order, head first. Rows keep their order by `position`; gaps mean nothing."""

    def __init__(self, chat: Chat, stored: list[QueuedMessage]) -> None:
        self._chat = chat
        self._rows = list(stored)
        self._stored = {row.pk: (row.parts, row.position) for row in stored}

    def __iter__(self) -> Iterator[QueuedMessage]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, queued_id: int) -> QueuedMessage:
        """Raises `QueuedMessageNotFound`."""
        for row in self._rows:
            if row.pk == queued_id:
                return row
        raise QueuedMessageNotFound()

    def place_of(self, queued: QueuedMessage) -> int:
        """1 for the head."""
        return self._rows.index(queued) + 1

    def require_room(self) -> None:
        if len(self._rows) >= settings.CHATD_QUEUE_LIMIT:
            raise QueueFull(limit=settings.CHATD_QUEUE_LIMIT)

    def append(self, parts: Sequence[dict[str, Any]], **fields: Any) -> QueuedMessage:
        """A new message at the tail."""
        position = self._rows[-1].position + 1 if self._rows else 1
        queued = QueuedMessage(chat_id=self._chat.pk, parts=list(parts), position=position, **fields)
        self._rows.append(queued)
        self._moved()
        return queued

    def remove(self, queued: QueuedMessage) -> None:
        self._rows.remove(queued)
        self._moved()

    def clear(self) -> None:
        if self._rows:
            self._rows.clear()
            self._moved()

    def move(self, queued: QueuedMessage, place: int) -> None:
        """To `place`, 1 for the head; to where it is already: nothing changes. Raises `PositionInvalid`."""
        if not 1 <= place <= len(self._rows):
            raise PositionInvalid(f"The queue has the positions 1 to {len(self._rows)}.", last=len(self._rows))
        if place == self.place_of(queued):
            return
        first = self._rows[0].position
        self._rows.remove(queued)
        self._rows.insert(place - 1, queued)
        for position, row in enumerate(self._rows, start=first):
            row.position = position
        self._moved()

    def rewrite(self, queued: QueuedMessage, parts: list[dict[str, Any]]) -> None:
        if parts != queued.parts:
            queued.parts = parts
            self._moved()

    def _moved(self) -> None:
        self._chat.queue_version = self._chat.snapshot_version

    # --- what is to be written -------------------------------------------------------------------------------

    @property
    def new(self) -> list[QueuedMessage]:
        return [row for row in self._rows if row.pk is None]

    @property
    def gone(self) -> list[int]:
        here = {row.pk for row in self._rows}
        return [pk for pk in self._stored if pk not in here]

    @property
    def changed(self) -> list[QueuedMessage]:
        return [row for row in self._rows if row.pk is not None and self._stored[row.pk] != (row.parts, row.position)]
