"""One `chat_update`: drafts of the chats that it touches, taken over by the world when it commits, or thrown away."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.reference.world import ChatModel, Either, Parts, Queued, Refused, Row, World, result_of
from tests.table import TABLE

BY_MESSAGE = "interrupted by new user message"


class Block:
    """The envelope of the specification's rule 1, and what several transitions have in common."""

    def __init__(self, world: World, name: str, fence: dict[str, Any] | None = None) -> None:
        self._world = world
        self._drafts: dict[str, ChatModel] = {}
        if name not in world.chats:
            raise Refused("ChatNotFound")
        chat = world.chats[name]
        if fence is not None and (chat.archived or any(getattr(chat, k) != v for k, v in fence.items())):
            raise Refused("StaleFence")
        self.chat = self.touch(name)
        self._retry_states = [chat.retry_state]

    def touch(self, name: str) -> ChatModel:
        if name not in self._drafts:
            self._drafts[name] = self._world.chats[name].draft()
            self._drafts[name].snapshot_version += 1
        return self._drafts[name]

    def member(self, name: str) -> ChatModel:
        """Another chat, as this block sees it."""
        return self._drafts.get(name) or self._world.chats[name]

    def commit(self) -> Iterator[tuple[str, str, str]]:
        """The world as it is afterwards; yields what is published: (what, chat, its state)."""
        chat, (first, *later) = self.chat, self._retry_states
        if chat.retry_state != first:
            chat.retry_state_version = chat.snapshot_version
        elif any(value != first for value in later):  # it changed and changed back, inside one transaction
            chat.retry_state_version = Either((chat.retry_state_version, chat.snapshot_version))
        self._world.chats.update(self._drafts)
        for draft in self._drafts.values():
            yield "update", draft.name, draft.state
            if draft.wakes:
                yield "wake-up", draft.name, draft.state

    def depart(self, transition: str, *wrong: str) -> str:
        """The state, if the table allows the transition there and nothing about the arguments is `wrong`."""
        state = self.chat.state
        if not TABLE[transition, state]:
            refused = "InvalidState" if state == "Invalid" else "TransitionNotAllowed"
            raise Refused(refused, *wrong, usable=not wrong)
        if wrong:
            raise Refused(*wrong)
        return state

    def arrive(self, transition: str, departure: str) -> None:
        """The table is the third reader: a model that leaves it is wrong itself."""
        outputs = TABLE[transition, departure]
        assert self.chat.state == (outputs[-1] if self.chat.queue else outputs[0]), (transition, departure, self.chat)

    # --- versions ----------------------------------------------------------------------------------------------

    def set_retry_state(self, value: Any) -> None:
        self.chat.retry_state = value
        self._retry_states.append(value)

    def new_history(self) -> None:
        self.chat.history_version = self.chat.snapshot_version
        self.chat.generation_attempt = 0
        self.set_retry_state(None)

    def new_queue(self) -> None:
        self.chat.queue_version = self.chat.snapshot_version

    # --- history and queue -------------------------------------------------------------------------------------

    def insert(self, row: Row) -> None:
        self.chat.history.append(replace(row, revision=self.chat.snapshot_version))
        self.new_history()

    def append(self, rows: Sequence[Row]) -> None:
        """Rows from outside: a tool message answers open calls, everything else follows when all are answered."""
        for row in rows:
            wrong = [] if row.parts else ["MessageInvalid"]
            calls = [call["tool_call_id"] for call in self.chat.outstanding()]
            if row.role == "tool":
                answered = [part["tool_call_id"] for part in row.parts]
                if len(set(answered)) < len(answered) or not set(answered) <= set(calls):
                    wrong.append("HistoryNotWellFormed")
            elif calls:
                wrong.append("HistoryNotWellFormed")
            if wrong:
                raise Refused(*wrong)
            self.insert(row)

    def close(self, calls: list[dict[str, Any]], reason: str) -> None:
        """A synthetic result for each of the calls."""
        for call in calls:
            self.insert(Row("tool", [result_of(call, reason, is_error=True, synthetic=True)]))

    def say(self, parts: Parts, author: str, model: str | None, options: dict[str, Any] | None) -> None:
        """A user message enters the history. A model that it names stays the chat's, its options hold for its turn."""
        self.insert(Row("user", parts, author=author))
        self.chat.model = model or self.chat.model
        self.chat.options = options or {}

    def promote(self, queued: Queued) -> None:
        """syn(all), and the queued message enters the history."""
        self.close(self.chat.outstanding(), BY_MESSAGE)
        self.chat.queue.remove(queued)
        self.new_queue()
        self.say(queued.parts, queued.author, queued.model, queued.options)

    def queued(self, queued_id: int) -> Queued | None:
        return next((queued for queued in self.chat.queue if queued.id == queued_id), None)

    # --- states ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """To work, with nothing left of an error, a wait or a request."""
        self.chat.last_error = None
        self.resume()

    def resume(self) -> None:
        self.chat.status = "running"
        self.chat.requires_action_deadline_at = self.chat.compaction_requested_at = None
