"""All that is known of a chat as labelled sentences, and as one JSON object. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from chat.execution import State
from chat.explain.meaning import MEANING, why_invalid
from chat.explain.situation import Owner, Situation, count, seconds, sentence
from chat.explain.turn import where, whose_turn

Line = tuple[str, str]
"""A label, and what is to be said under it."""


def tell(chat: Situation) -> Iterator[Line]:
    """Everything that applies, the answer to "who acts next?" last: there a reader of a terminal looks first."""
    title = f'"{chat.title}"' if chat.title else "untitled"
    agent = f", a sub-agent in the family of {chat.root_id}" if chat.root_id else ""
    yield "Chat", f"{chat.chat_id}, {title}, of {chat.user}, model {chat.model}{agent}."
    yield "State", meaning(chat)
    yield "Worker", _owner(chat)
    if chat.owner:
        yield "Lease", _lease(chat, chat.owner)
    if chat.waiting_since is not None:
        place = f", number {chat.place} in line" if chat.place is not None else ""
        yield "Waits", f"for a chat worker, for {seconds(chat.waiting_since)}{place}."
    if attempt := _attempt(chat):
        yield "Attempt", attempt
    if chat.queued:
        steering = f", {chat.steering} of which steer the running turn" if chat.steering else ""
        yield "Queue", f"{count(chat.queued, 'message')}{steering}."
    if chat.calls:
        calls = (f"{call.tool_name} ({'client' if call.by_client else 'server'})" for call in chat.calls)
        yield "Open calls", f"{', '.join(calls)}.{_deadline(chat)}"
    elif chat.deadline_in is not None:
        yield "Open calls", f"none.{_deadline(chat)}"
    if chat.last_error:
        yield "Last error", _error(chat.last_error)
    if chat.compaction_asked_since is not None:
        yield "Compaction", f"asked for {seconds(chat.compaction_asked_since)} ago, not done yet."
    yield "All workers", _workers(chat)
    turn = whose_turn(chat)
    yield "Next", f"{turn.who}: {turn.what}"
    yield "To do", turn.todo


def meaning(chat: Situation) -> str:
    why = f" {why_invalid(chat.status, chat.archived, chat.queued)}" if chat.state is State.INVALID else ""
    return f"{chat.state}: {MEANING[chat.state]}{why}"


def as_json(chat: Situation) -> dict[str, Any]:
    """Durations in seconds; None: not known, or does not apply."""
    known = asdict(chat)
    del known["commands"]
    turn = whose_turn(chat)
    return {
        **known,
        "state": str(chat.state),
        "meaning": meaning(chat),
        "calls": list(known["calls"]),
        "last_error": dict(chat.last_error) if chat.last_error else None,
        "next": {"who": turn.who, "what": turn.what, "todo": turn.todo},
    }


def _owner(chat: Situation) -> str:
    owner = chat.owner
    if owner is None:
        return "nobody."
    draining = ", told to stop" if owner.draining else ""
    return f"worker {where(owner)}, {_life(owner)}{draining}. Runner {owner.runner_id[:8]}."


def _life(owner: Owner) -> str:
    if owner.holds_lock:
        return "alive: it holds its lock" if owner.lease_is_fresh else "it holds its lock, but sends no heartbeat"
    return "alive a moment ago, but without its lock" if owner.alive else "dead: nobody holds its lock"


def _lease(chat: Situation, owner: Owner) -> str:
    if owner.heartbeat_age is None:
        return "none: it expired, or its worker was found dead."
    age = f"the last heartbeat is {seconds(owner.heartbeat_age)} old"
    if owner.lease_is_fresh:
        return f"fresh, {age}. Without another it expires in {seconds(chat.lease_lasts - owner.heartbeat_age)}."
    return f"expired, {age}; a lease lasts {seconds(chat.lease_lasts)}."


def _attempt(chat: Situation) -> str:
    if not chat.attempt and not chat.retry:
        return ""
    said = f"{chat.attempt} of at most {chat.max_attempts}."
    if chat.retry is None:
        return said
    due = "now" if not chat.retry.after or chat.retry.after <= 0 else f"in {seconds(chat.retry.after)}"
    return f"{said} The last one failed, the next is due {due}: {sentence(chat.retry.reason)}"


def _deadline(chat: Situation) -> str:
    if chat.deadline_in is None:
        return ""
    if chat.deadline_in <= 0:
        return f" The deadline passed {seconds(-chat.deadline_in)} ago."
    return f" They time out in {seconds(chat.deadline_in)}."


def _error(error: Mapping[str, Any]) -> str:
    known = ", ".join(str(error[key]) for key in ("kind", "status_code") if error.get(key))
    message = sentence(str(error.get("message") or "no message"))
    return f"{known}: {message}" if known else message


def _workers(chat: Situation) -> str:
    workers = chat.workers
    draining = f"; {workers.draining} told to stop" if workers.draining else ""
    if not workers.taking:
        return f"none takes chats{draining}."
    return f"{count(workers.taking, 'chat worker')}, {workers.taken} of {count(workers.slots, 'slot')} taken{draining}."
