"""The one door to a chat's row.

    with chat_update(chat_id, fence=fence) as update:
        transitions.commit_step(update, rows)
        transitions.finish_turn(update)

One transaction: lock the row, check the fence, advance `snapshot_version` once, let the transitions change a draft,
write the draft, commit, publish one hint and, if nobody works on a runnable chat, one wake-up. An exception in the
block undoes everything and publishes nothing; a publication that fails undoes nothing.

The draft (`chat/draft.py`) is written when the block ends, so a transition costs no statement of its own, and ids of
new messages are known after the block. Archiving takes a chat's whole family along: its other members are locked
after the root, in the order of their ids, and each is checked, moved and published like the root. `chat_read` is the
same chat as a value: no lock, no version, no hint.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import transaction

from chat import hints, metrics, rows
from chat.crash import crash_point
from chat.draft import HistoryDraft, QueueDraft
from chat.errors import ChatNotFound, FamilyArchived, InvalidState, StaleFence, TransitionNotAllowed
from chat.execution import RUNNABLE, State, Transition, arrivals, classify
from chat.models import Chat, ChatMessage
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
    """One chat inside one transaction. Transitions change `chat`, `history` and `queue`; the door writes them."""

    def __init__(self, chat: Chat, stored: rows.Stored, *, is_new: bool = False) -> None:
        self.chat = chat
        self.history = HistoryDraft(chat, stored.tail)
        self.queue = QueueDraft(chat, stored.queue)
        self.did: list[Transition] = []
        self._is_new = is_new
        self._before = {} if is_new else {field.attname: getattr(chat, field.attname) for field in _CHAT_FIELDS}
        self._departed = self._arrived = State.N if is_new else self.state
        self._torn = False
        self._lease: rows.LeaseChange = None
        self._family: list[ChatUpdate] | None = None
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

    def set_owner(self, worker_id: UUID, runner_id: UUID) -> None:
        self.chat.worker_id, self.chat.runner_id = worker_id, runner_id
        self._lease = "new"

    def clear_owner(self) -> None:
        self.chat.worker_id = self.chat.runner_id = None
        self._lease = "gone"

    def descendants(self) -> list["ChatUpdate"]:
        """The other members of a root chat's family, locked with it; each advances its own snapshot once."""
        if self._family is None:
            members = rows.lock_descendants(self.chat.pk)
            stored = rows.stored_of_all([member.pk for member in members]) if members else {}
            self._family = [ChatUpdate(member, stored[member.pk]) for member in members]
        return list(self._family)

    # --- the end of the block --------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the draft; the hint goes out when the transaction commits.

        Raises `BrokenInvariant` for a draft that no sequence of whole transitions has made.
        """
        self._require_whole()
        added, hidden_from = self.history.added, self.history.deleted_from
        with_it = added[0] if len(added) == 1 and hidden_from is None and not self._is_new else None
        lease_is_fresh = self._write_chat(with_it)
        if hidden_from is not None:
            rows.delete_messages_from(self.chat.pk, hidden_from)
        if added and with_it is None:
            rows.insert_messages(added)
        self._write_queue()
        _announce_on_commit(self, wake=self.state in RUNNABLE and not lease_is_fresh)
        moved = [member for member in self._family or () if member.did]
        if moved:
            rows.save_archived([member.chat for member in moved])
        for member in moved:
            member._require_whole()
            _announce_on_commit(member, wake=False)

    def _require_whole(self) -> None:
        if self._torn:
            raise BrokenInvariant("a transition failed half-way, and its block went on")
        if self.state is not self._arrived:
            raise BrokenInvariant(f"the state went from {self._arrived} to {self.state} without a transition")

    def _write_chat(self, message: ChatMessage | None) -> bool:
        """With a message in the same statement; true if the chat's owner has a fresh lease then."""
        if self._is_new:
            rows.insert_chat(self.chat)
            return False
        changed = [name for name, value in self._before.items() if getattr(self.chat, name) != value]
        return rows.save_chat(self.chat, changed, self._lease, message)

    def _write_queue(self) -> None:
        queue = self.queue
        if queue.gone:
            rows.delete_queued(queue.gone)
        if queue.changed:
            rows.update_queued(queue.changed)
        if queue.new:
            rows.insert_queued(queue.new)


def _announce_on_commit(update: ChatUpdate, *, wake: bool) -> None:
    chat, state = update.chat, update.state

    def announce() -> None:  # a named function: Django's robust on_commit cannot log a partial
        crash_point("door.committed")
        logger.info(
            "chat.transition",
            chat_id=str(chat.pk),
            did=[str(name) for name in update.did],
            before=str(update._departed),
            after=str(state),
            snapshot_version=chat.snapshot_version,
        )
        for name in update.did:
            metrics.TRANSITIONS.labels(str(name)).inc()
        hints.publish_update(chat, state)
        if wake:
            hints.publish_wake_up(chat.pk)

    transaction.on_commit(announce, robust=True)


_CHAT_FIELDS = Chat._meta.concrete_fields


@contextmanager
def chat_update(chat_id: UUID, *, fence: Fence | None = None) -> Iterator[ChatUpdate]:
    """One transaction on one chat; see the head of this file.

    Raises `ChatNotFound`, and `StaleFence` if `fence` is given and the locked row says otherwise.
    """
    with transaction.atomic():
        found = rows.lock_chat(chat_id)
        if found is None:
            raise ChatNotFound()
        chat, stored = found
        crash_point("door.locked")
        if fence is not None and not fence.holds(chat):
            crash_point("door.fence_refused")
            raise StaleFence()
        update = ChatUpdate(chat, stored)
        yield update
        update.write()
        crash_point("door.commit.before")
    crash_point("door.commit.after")


@contextmanager
def chat_creation(chat: Chat) -> Iterator[ChatUpdate]:
    """The door for a chat that does not exist yet: same draft, same guards, same single hint.

    Raises `FamilyArchived` for a sub-agent of an archived family, `ChatNotFound` for one of a family that was deleted;
    until the end, the family can be neither. Not to be opened inside the `chat_update` of another member: whoever
    archives the family locks the root first.
    """
    with transaction.atomic():
        if chat.root_id is not None:
            is_archived = rows.lock_root_against_archiving(chat.root_id)
            if is_archived is None:
                raise ChatNotFound()
            if is_archived:
                raise FamilyArchived()
        update = ChatUpdate(chat, rows.Stored([], []), is_new=True)
        yield update
        update.write()
        crash_point("creation.commit.before")
    crash_point("creation.commit.after")


def chat_read(chat_id: UUID, *, fence: Fence | None = None) -> ChatSnapshot:
    """One consistent reading of chat, messages and queue. Raises `ChatNotFound`, `StaleFence`."""
    snapshot = read_snapshot(chat_id)
    if fence is not None and not fence.holds(snapshot.chat):
        raise StaleFence()
    return snapshot


__all__ = ["BrokenInvariant", "ChatUpdate", "Fence", "chat_creation", "chat_read", "chat_update"]
