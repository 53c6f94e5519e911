"""The one door to a chat's row.

    with chat_update(chat_id, fence=fence) as update:
        transitions.commit_step(update, rows)
        transitions.finish_turn(update)

One transaction: lock the row, check the fence, advance `snapshot_version` once, let the transitions change a draft,
write the draft, commit, publish one hint and, if nobody works on a runnable chat, one wake-up. An exception in the
block undoes everything and publishes nothing; a publication that fails undoes nothing.

The draft is written when the block ends, so a transition costs no statement of its own, and ids of new messages are
known after the block. `chat_read` is the same chat as a value: no lock, no version, no hint.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from chat import content, hints, rows
from chat.errors import ChatNotFound, InvalidState, QueueFull, StaleFence, TransitionNotAllowed
from chat.execution import RUNNABLE, State, Transition, arrivals, classify
from chat.models import Chat, ChatMessage, QueuedMessage
from chat.snapshot import ChatSnapshot, read_snapshot

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fence:
    """What a piece of work relied on when it began; it may commit only while the locked row still says the same."""

    worker_id: UUID
    runner_id: UUID
    history_version: int
    status: str
    generation_attempt: int | None = None
    """Also compared where given: for what only the attempt that produced it may write."""

    def holds(self, chat: Chat) -> bool:
        return (
            chat.worker_id == self.worker_id
            and chat.runner_id == self.runner_id
            and chat.history_version == self.history_version
            and chat.status == self.status
            and not chat.archived
            and self.generation_attempt in (None, chat.generation_attempt)
        )


class BrokenInvariant(Exception):
    """A transition left the table: a bug in the machine, never the caller's doing. Nothing was written."""


class ChatUpdate:
    """The draft of one chat inside one transaction. Transitions change it; the door writes it."""

    def __init__(self, chat: Chat, queue: list[QueuedMessage], *, is_new: bool = False) -> None:
        self.chat = chat
        self.queue = queue
        self.did: list[Transition] = []
        self._is_new = is_new
        self._before = {} if is_new else {field.attname: getattr(chat, field.attname) for field in _CHAT_FIELDS}
        self._departed = self._arrived = State.N if is_new else self.state
        self._torn = False
        self._new_messages: list[ChatMessage] = []
        self._new_queued: list[QueuedMessage] = []
        self._gone_queued: list[int] = []
        self._tail: list[tuple[str, Any]] | None = [] if is_new else None
        self._new_lease = False
        self._freed = False
        if not is_new:
            chat.snapshot_version += 1

    @property
    def state(self) -> State:
        return classify(self.chat.status, self.chat.archived, len(self.queue))

    @contextmanager
    def moving(self, transition: Transition) -> Iterator[State]:
        """The guard around a transition's body: its state must be in the table before and after."""
        departure = State.N if self._is_new and not self.did else self.state
        allowed = arrivals(transition, departure)
        if not allowed:
            refusal = InvalidState if departure is State.INVALID else TransitionNotAllowed
            raise refusal(transition, departure)
        try:
            yield departure
            if self.state not in allowed:
                raise BrokenInvariant(f"{transition} led from {departure} to {self.state}, the table says {allowed}")
        except BaseException:
            self._torn = True
            raise
        self._arrived = self.state
        self.did.append(transition)

    @property
    def added(self) -> list[ChatMessage]:
        """The messages that this block has added to the history so far."""
        return self._new_messages

    # --- history ---------------------------------------------------------------------------------------------

    def add_message(self, role: str, parts: Sequence[dict[str, Any]], **fields: Any) -> ChatMessage:
        """A new row at the end of the history: a new history version, so attempts begin anew."""
        message = ChatMessage(
            chat_id=self.chat.pk, role=role, parts=list(parts), content_version=content.CONTENT_VERSION, **fields
        )
        self._new_messages.append(message)
        if self._tail is not None:
            self._tail.append((role, message.parts))
        self.begin_history_version()
        return message

    def begin_history_version(self) -> None:
        self.chat.history_version = self.chat.snapshot_version
        self.chat.generation_attempt = 0
        self.chat.retry_state = None

    def outstanding_calls(self) -> list[dict[str, Any]]:
        """Tool calls of the last assistant message, also of one added in this block, that have no result yet."""
        if self._tail is None:
            self._tail = [
                *rows.tail_of(self.chat.pk),
                *((message.role, message.parts) for message in self._new_messages),
            ]
        return content.outstanding_calls(self._tail)

    def close_outstanding_calls(self, reason: str, *, only: set[str] | None = None) -> None:
        """One synthetic error result for every outstanding call; `only`: those of these tools."""
        for call in self.outstanding_calls():
            if only is None or call["tool_name"] in only:
                self.add_message("tool", [content.tool_result(call, reason, is_error=True, synthetic=True)])

    # --- queue -----------------------------------------------------------------------------------------------

    def require_room_in_queue(self) -> None:
        if len(self.queue) >= settings.CHATD_QUEUE_LIMIT:
            raise QueueFull(limit=settings.CHATD_QUEUE_LIMIT)

    def enqueue(self, parts: Sequence[dict[str, Any]], **fields: Any) -> QueuedMessage:
        """A new message at the queue's tail."""
        position = self.queue[-1].position + 1 if self.queue else 1
        queued = QueuedMessage(chat_id=self.chat.pk, parts=list(parts), position=position, **fields)
        self.queue.append(queued)
        self._new_queued.append(queued)
        self.chat.queue_version = self.chat.snapshot_version
        return queued

    def dequeue(self, queued: QueuedMessage) -> None:
        self.queue.remove(queued)
        if queued in self._new_queued:
            self._new_queued.remove(queued)
        else:
            self._gone_queued.append(queued.pk)
        self.chat.queue_version = self.chat.snapshot_version

    def promote_head_of_queue(self) -> ChatMessage | None:
        """Move the queue's head into the history, with its author and model; None if the queue is empty."""
        if not self.queue:
            return None
        head = self.queue[0]
        self.dequeue(head)
        if head.model:
            self.chat.model = head.model
        return self.add_message("user", head.parts, created_by_id=head.created_by_id)

    # --- ownership -------------------------------------------------------------------------------------------

    def set_owner(self, worker_id: UUID, runner_id: UUID) -> None:
        self.chat.worker_id, self.chat.runner_id = worker_id, runner_id
        self._new_lease, self._freed = True, False

    def clear_owner(self) -> None:
        self.chat.worker_id = self.chat.runner_id = None
        self._new_lease, self._freed = False, True

    # --- the end of the block --------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the draft; the hint goes out when the transaction commits.

        Raises `BrokenInvariant` for a draft that no sequence of whole transitions has made.
        """
        chat = self.chat
        if self._torn:
            raise BrokenInvariant("a transition failed half-way, and its block went on")
        if self.state is not self._arrived:
            raise BrokenInvariant(f"the state went from {self._arrived} to {self.state} without a transition")
        lease_is_fresh = False
        if self._is_new:
            rows.insert_chat(chat)
        else:
            changed = [name for name, value in self._before.items() if getattr(chat, name) != value]
            lease_is_fresh = rows.save_chat(chat, changed)
        if self._new_messages:
            rows.insert_messages(self._new_messages)
        if self._gone_queued:
            rows.delete_queued(self._gone_queued)
        if self._new_queued:
            rows.insert_queued(self._new_queued)
        if self._freed:
            rows.delete_leases(chat.pk)
        if self._new_lease and chat.worker_id and chat.runner_id:
            rows.insert_lease(chat.pk, chat.worker_id, chat.runner_id)
            lease_is_fresh = True
        state = self.state
        wake = state in RUNNABLE and not lease_is_fresh

        def announce() -> None:  # a named function: Django's robust on_commit cannot log a partial
            self._log(state)
            hints.publish_update(chat, state)
            if wake:
                hints.publish_wake_up(chat.pk)

        transaction.on_commit(announce, robust=True)

    def _log(self, state: State) -> None:
        logger.info(
            "chat.transition",
            chat_id=str(self.chat.pk),
            did=[str(name) for name in self.did],
            before=str(self._departed),
            after=str(state),
            snapshot_version=self.chat.snapshot_version,
        )


_CHAT_FIELDS = Chat._meta.concrete_fields


@contextmanager
def chat_update(chat_id: UUID, *, fence: Fence | None = None) -> Iterator[ChatUpdate]:
    """One transaction on one chat; see the head of this file.

    Raises `ChatNotFound`, and `StaleFence` if `fence` is given and the locked row says otherwise.
    """
    with transaction.atomic():
        chat = rows.lock_chat(chat_id)
        if chat is None:
            raise ChatNotFound()
        if fence is not None and not fence.holds(chat):
            raise StaleFence()
        update = ChatUpdate(chat, rows.queue_of(chat_id))
        yield update
        update.write()


@contextmanager
def chat_creation(chat: Chat) -> Iterator[ChatUpdate]:
    """The door for a chat that does not exist yet: same draft, same guards, same single hint."""
    with transaction.atomic():
        update = ChatUpdate(chat, [], is_new=True)
        yield update
        update.write()


def chat_read(chat_id: UUID, *, fence: Fence | None = None) -> ChatSnapshot:
    """One consistent reading of chat, messages and queue. Raises `ChatNotFound`, `StaleFence`."""
    snapshot = read_snapshot(chat_id)
    if fence is not None and not fence.holds(snapshot.chat):
        raise StaleFence()
    return snapshot
