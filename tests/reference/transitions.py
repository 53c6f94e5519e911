"""The effects table of the specification: a method for each transition, named and called as in `chat.transitions`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.reference.block import BY_MESSAGE, Block
from tests.reference.world import Chosen, Parts, Queued, Refused, Row, result_of, wrong_message
from tests.table import TABLE

BY_USER, BY_EDIT = "interrupted by user", "interrupted by message edit"
TIMED_OUT, INVALID_CANCELED = "timed out", "canceled due to invalid chat state"
CLIENT_TIMEOUT = 300
"""Seconds that a client tool has if it does not say."""


class Reference(Block):
    """One `chat_update`; each method raises `Refused` or changes the draft."""

    def do(self, name: str, arguments: dict[str, Any]) -> None:
        departure = self.chat.state
        getattr(self, name)(**arguments)
        self.arrive(in_table(name, arguments), departure)

    # --- what a person does ------------------------------------------------------------------------------------

    def send_message(
        self, parts: Parts, author: str, busy_behavior: str = "queue", model: str | None = None, options: Any = None
    ) -> None:
        wrong = wrong_message(parts, model)
        if busy_behavior not in ("queue", "interrupt", "steer"):
            wrong.append("BusyBehaviorUnknown")
        transition, chat = in_table("send_message", {"busy_behavior": busy_behavior}), self.chat
        if TABLE[transition, chat.state] and chat.state not in ("W", "E0"):
            wrong += ["QueueFull"] * (len(chat.queue) >= self._world.queue_limit)
        state = self.depart(transition, *wrong)
        if state in ("W", "E0"):
            self.close(chat.outstanding(), BY_MESSAGE)
            self.say(parts, author, model, options)
            self.start()
            return
        chat.queue.append(Queued(parts, author, model or "", options or {}, steering=busy_behavior == "steer"))
        self.new_queue()
        if state == "E1":
            self.promote(chat.queue[0])
            self.start()
        elif busy_behavior == "interrupt" and state in ("A0", "A1"):
            self.new_history()
            self.close(chat.client_calls(), BY_MESSAGE)
            self.resume()
        elif busy_behavior == "interrupt":
            chat.status = "interrupting"

    def edit_message(
        self,
        message_id: int,
        parts: Parts,
        author: str,
        model: str | None = None,
        options: Any = None,
        suffix: Sequence[Row] = (),
    ) -> None:
        chat, wrong = self.chat, wrong_message(parts, model)
        target = next((row for row in chat.history if row.id == message_id and not row.deleted), None)
        if target is None:
            wrong.append("MessageNotFound")
        elif target.role != "user" or target.visibility == "model":
            wrong.append("NotAUserMessage")
        self.depart("edit_message", *wrong)
        assert target is not None
        place = chat.history.index(target)
        chat.history[place:] = [
            row if row.deleted else replace(row, deleted=True, revision=chat.snapshot_version)
            for row in chat.history[place:]
            if row.id is not None  # a row of this very block was never there
        ]
        self.close(chat.outstanding(), BY_EDIT)
        self.say(parts, author, model, options)
        self.append(suffix)
        if chat.queue:
            chat.queue.clear()
            self.new_queue()
        self.start()

    def interrupt(self) -> None:
        if self.depart("interrupt") in ("R0", "R1"):
            self.chat.status = "interrupting"
            self.chat.compaction_requested_at = None
        else:
            self._cancel_client_calls(BY_USER)

    def request_compaction(self) -> None:
        self.depart("request_compaction")
        self.new_history()
        self.start()
        self.chat.compaction_requested_at = Chosen(after=0)
        self._disown()

    def clear_context(self, boundary: Sequence[Row]) -> None:
        self.depart("clear_context")
        self.close(self.chat.outstanding(), BY_USER)
        self.append(boundary)
        self.new_history()
        self.start()
        self.chat.status = "waiting"

    def update_queued_message(self, queued_id: int, parts: Parts | None = None, position: int | None = None) -> None:
        queue, wrong = self.chat.queue, []
        queued = self.queued(queued_id)
        if queued is None:
            wrong.append("QueuedMessageNotFound")
        if parts is not None:
            wrong += wrong_message(parts, None)
        if position is not None and not 1 <= position <= len(queue):
            wrong.append("PositionInvalid")
        self.depart("update_queued_message", *wrong)
        assert queued is not None
        changed = list(queue)
        place = changed.index(queued)
        changed[place] = queued if parts is None else replace(queued, parts=parts)
        if position is not None:
            changed.insert(position - 1, changed.pop(place))
        if changed != queue:
            queue[:] = changed
            self.new_queue()

    def delete_queued_message(self, queued_id: int) -> None:
        queued = self.queued(queued_id)
        self.depart("delete_queued_message", *["QueuedMessageNotFound"] * (queued is None))
        assert queued is not None
        self.chat.queue.remove(queued)
        self.new_queue()

    def promote_queued_message(self, queued_id: int) -> None:
        queue, queued = self.chat.queue, self.queued(queued_id)
        state = self.depart("promote_queued_message", *["QueuedMessageNotFound"] * (queued is None))
        assert queued is not None
        if state in ("E1", "A1"):
            self.promote(queued)
            self.start()
            return
        if queue[0] is not queued:
            queue.remove(queued)
            queue.insert(0, queued)
            self.new_queue()
        self.chat.status = "interrupting"
        self.chat.compaction_requested_at = None

    # --- what a runner does ------------------------------------------------------------------------------------

    def record_generation_attempt(self) -> None:
        self.depart("record_generation_attempt")
        self.chat.generation_attempt += 1
        self.set_retry_state(None)

    def record_retry_state(self, retry_state: dict[str, Any]) -> None:
        self.depart("record_retry_state")
        self.set_retry_state(retry_state)

    def commit_step(self, messages: Sequence[Row], consumes_compaction: bool = False) -> None:
        self.depart("commit_step", *["MessageInvalid"] * (not messages))
        self.append(messages)
        if consumes_compaction:
            self.chat.compaction_requested_at = None

    def absorb_steering(self) -> None:
        chat = self.chat
        self.depart("absorb_steering")
        marked = [queued for queued in chat.queue if queued.steering]
        wrong = ["NothingToAbsorb"] * (not marked) + ["HistoryNotWellFormed"] * bool(chat.outstanding())
        if wrong:
            raise Refused(*wrong)
        for queued in marked:  # into the turn that runs, whose model and options stay unless they name others
            chat.queue.remove(queued)
            self.new_queue()
            self.say(queued.parts, queued.author, queued.model, queued.options or chat.options)

    def finish_turn(self) -> None:
        self.depart("finish_turn")
        self._next_turn()

    def finish_error(self, error: dict[str, Any]) -> None:
        self.depart("finish_error")
        self.chat.status, self.chat.last_error = "error", error
        self.chat.compaction_requested_at = None

    def finish_interruption(self, partial: Sequence[Row]) -> None:
        self.depart("finish_interruption")
        self.append(partial)
        if self.chat.outstanding():
            raise Refused("HistoryNotWellFormed")
        self._next_turn()

    def _next_turn(self) -> None:
        self.chat.compaction_requested_at = None
        self.chat.status = "running" if self.chat.queue else "waiting"
        if self.chat.queue:
            self.promote(self.chat.queue[0])

    # --- client calls ------------------------------------------------------------------------------------------

    def enter_requires_action(self) -> None:
        chat = self.chat
        self.depart("enter_requires_action", *["NoClientCalls"] * (not chat.client_calls()))
        called = {call["tool_name"] for call in chat.client_calls()}
        longest = max(tool.get("timeout_s", CLIENT_TIMEOUT) for tool in chat.client_tools if tool["name"] in called)
        chat.status, chat.requires_action_deadline_at = "requires_action", Chosen(after=longest)
        chat.compaction_requested_at = None

    def complete_requires_action(self, results: Sequence[dict[str, Any]], suffix: Sequence[Row] = ()) -> None:
        self.depart("complete_requires_action")
        calls = {call["tool_call_id"]: call for call in self.chat.client_calls()}
        given = [result.get("tool_call_id") for result in results]
        wrong = ["ToolResultInvalid"] * any(not isinstance(known, str) for known in given)
        wrong += ["ToolResultDuplicate"] * (len(set(given)) < len(given))
        wrong += ["ToolResultUnexpected"] * (not set(given) <= set(calls))
        wrong += ["ToolResultMissing"] * (not set(calls) <= set(given))
        if wrong:
            raise Refused(*wrong[:1] if wrong[0] == "ToolResultInvalid" else wrong)
        by_id = {result["tool_call_id"]: result for result in results}
        for known, call in calls.items():
            output, is_error = by_id[known]["output"], by_id[known].get("is_error", False)
            self.insert(Row("tool", [result_of(call, output, is_error=is_error)]))
        self.append(suffix)
        self.resume()

    def cancel_requires_action(self, reason: str = TIMED_OUT) -> None:
        self.depart("cancel_requires_action")
        self._cancel_client_calls(reason)

    def _cancel_client_calls(self, reason: str) -> None:
        self.new_history()
        self.close(self.chat.client_calls(), reason)
        self.resume()

    # --- ownership and housekeeping ----------------------------------------------------------------------------

    def acquire(self, worker_id: str, runner_id: str) -> None:
        self.depart("acquire")
        self.chat.worker_id, self.chat.runner_id = worker_id, runner_id
        self.chat.leases = {runner_id: (worker_id, True)}

    def abandon(self) -> None:
        self.depart("abandon")
        if self.chat.runner_id is None:
            raise Refused("TransitionNotAllowed", "InvalidState")
        self._disown()

    def _disown(self) -> None:
        self.chat.worker_id = self.chat.runner_id = None
        self.chat.leases = {}

    def set_archived(self, archived: bool) -> None:
        transition = in_table("set_archived", {"archived": archived})
        self.depart(transition, *["TransitionNotAllowed"] * (self.chat.root is not None))
        members = [self.member(name) for name in self._world.descendants(self.chat.name)]
        moving = [member.name for member in members if member.archived != archived]
        if not all(TABLE[transition, self.member(name).state] for name in moving):
            raise Refused("TransitionNotAllowed", "InvalidState")
        for chat in [self.chat, *map(self.touch, moving)]:
            chat.archived = archived
            chat.pin_order = 0 if archived else chat.pin_order

    def reconcile_invalid_state(self, error: dict[str, Any] | None = None) -> None:
        self.depart("reconcile_invalid_state")
        self.close(self.chat.client_calls(), INVALID_CANCELED)
        self.resume()
        self.chat.status, self.chat.archived = "error", False
        self.chat.last_error = error or Chosen()


def in_table(name: str, arguments: dict[str, Any]) -> str:
    """The row of the table that a call of a function belongs to."""
    if name == "send_message":
        return "send_message_interrupt" if arguments.get("busy_behavior") == "interrupt" else "send_message_queue"
    if name == "set_archived":
        return "set_archived_true" if arguments["archived"] else "set_archived_false"
    return name


TRANSITIONS: dict[str, Callable[..., None]] = {
    name: method for name, method in vars(Reference).items() if not name.startswith("_") and name != "do"
}
"""Every transition but `create`, by name."""
