"""Who acts next, and what an operator can do if nobody does. Pure: a situation in, three sentences out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chat.execution import RUNNABLE, State
from chat.explain.situation import Owner, Situation, count, seconds, sentence
from chat.terminal.narrator import ADVICE, TRY_AGAIN

NOBODY = "nobody"
NOTHING = "Nothing."
START_A_WORKER = "Start one: celery -A config worker -Q chats, or ./dev up. The chat then goes on by itself."
ASK_THE_DOCTOR = "manage.py chat_doctor looks at wake-ups, beat and workers."
TAKEN_WITHIN = 10.0
"""Seconds in which a worker with a free slot should have taken a chat: workers look for themselves every 5 s."""
CANCELED_WITHIN = 5.0
"""Seconds after a deadline in which a maintenance worker, who looks every second, should have acted."""


@dataclass(frozen=True, slots=True)
class Turn:
    """`who`: `what` it does; read one after the other they are a sentence. `todo`: for the operator."""

    who: str
    what: str
    todo: str = NOTHING


def whose_turn(chat: Situation) -> Turn:
    if chat.state in RUNNABLE:
        return _of_unowned(chat) if chat.owner is None else _of_owned(chat, chat.owner)
    return _AT_REST[chat.state](chat)


# --- runnable, nobody's ------------------------------------------------------------------------------------------


def _of_unowned(chat: Situation) -> Turn:
    workers, since = chat.workers, chat.waiting_since or 0.0
    if not workers.taking:
        return Turn(NOBODY, _no_worker(chat), START_A_WORKER)
    if chat.place is not None and workers.are_full:
        taken = f"All {count(workers.slots, 'slot')} of {count(workers.taking, 'chat worker')} are taken."
        what = f"it takes the chat when a slot is free; the chat is number {chat.place} in line. {taken}"
        return Turn("a chat worker", what, "Wait, or start another chat worker.")
    if chat.place is not None:
        what = f"it takes the chat when the limits allow it; the chat is number {chat.place} in line. {_limits(chat)}"
        return Turn("a chat worker", what, "Wait, or raise the limits and restart the processes.")
    if since > TAKEN_WITHIN:
        free = f"{workers.slots - workers.taken} of {count(workers.slots, 'slot')} are free"
        what = f"it should have taken the chat long ago: {free}, and the chat has waited for {seconds(since)}."
        return Turn("a chat worker", what, ASK_THE_DOCTOR)
    return Turn("a chat worker", "it takes the chat. A wake-up is on its way, and a sweep repeats it within seconds.")


def _no_worker(chat: Situation) -> str:
    if chat.workers.draining:
        return "every chat worker that is alive has been told to stop."
    return "no chat worker is alive."


def _limits(chat: Situation) -> str:
    kind = "SUB_AGENTS" if chat.root_id else "CHATS"
    limits = ((f"CHATD_MAX_{kind}", chat.limits.total), (f"CHATD_MAX_{kind}_PER_OWNER", chat.limits.per_owner))
    return " ".join(f"{name} is {limit}." for name, limit in limits if limit)


# --- runnable, somebody's ----------------------------------------------------------------------------------------


def _of_owned(chat: Situation, owner: Owner) -> Turn:
    if not owner.lease_is_fresh:
        return _of_abandoned(chat, owner)
    if not owner.alive:
        return _of_presumed_dead(chat, owner)
    who = f"its worker, {where(owner)}"
    if owner.draining:
        what = f"it was told to stop, and finishes the step within {seconds(chat.drain_lasts)} or hands the chat over."
        return Turn(
            who, what, NOTHING if chat.workers.taking else f"No other chat worker takes chats. {START_A_WORKER}"
        )
    return Turn(who, _work(chat))


def _work(chat: Situation) -> str:
    if chat.state in (State.I0, State.I1):
        return f"it saves what was streamed{', and goes on with the queue' if chat.queued else ''}."
    if chat.retry:
        if chat.retry.after is not None and chat.retry.after > 0:
            return f"it tries again in {seconds(chat.retry.after)}, because: {sentence(chat.retry.reason)}"
        return f"it tries again now, because: {sentence(chat.retry.reason)}"
    if chat.calls:
        return f"it executes {_tools(chat)}."
    return f"it is calling the model: attempt {max(1, chat.attempt)} of this step."


def _of_abandoned(chat: Situation, owner: Owner) -> Turn:
    former = f"Its worker, {where(owner)}, {'hangs or is cut off' if owner.alive else 'is dead'}."
    others = chat.workers.taking - (owner.alive and not owner.draining)
    if others <= 0:
        kill = f"End the one that hangs (kill -9 {owner.pid} on {owner.host}). " if owner.alive and owner.pid else ""
        return Turn(NOBODY, f"no other chat worker takes chats. {former}", f"{kill}{START_A_WORKER}")
    if chat.workers.are_full:
        what = f"it takes the chat over when a slot is free. {former}"
        return Turn("another chat worker", what, "Wait, or start another chat worker.")
    return Turn("another chat worker", f"it takes the chat over now. {former}")


def _of_presumed_dead(chat: Situation, owner: Owner) -> Turn:
    age = owner.heartbeat_age or 0.0
    former = f"Its worker, {where(owner)}, holds no lock: dead, or behind a pooler that shares sessions."
    if not chat.workers.taking:
        return Turn(NOBODY, f"no chat worker is alive. {former}", START_A_WORKER)
    at_the_latest = f"at the latest when the lease expires, in {seconds(chat.lease_lasts - age)}"
    return Turn("another chat worker", f"it takes the chat over as soon as it is sure, {at_the_latest}. {former}")


def where(owner: Owner) -> str:
    """The worker, and where to find it."""
    place = "no longer registered" if owner.host is None else f"process {owner.pid} on {owner.host}"
    return f"{owner.worker_id[:8]} ({place})"


# --- at rest -----------------------------------------------------------------------------------------------------


def _of_idle(chat: Situation) -> Turn:
    return Turn("its user", "the next message begins a turn.")


def _of_failed(chat: Situation) -> Turn:
    advice = ADVICE.get(str((chat.last_error or {}).get("kind", "")))
    what = "the next message begins a turn."
    if chat.queued:
        what = "the next message, or promoting a queued one, sets the queue going, its head first."
    return Turn("its user", what, f"{advice} {TRY_AGAIN}" if advice else TRY_AGAIN)


def _of_waiting_for_client(chat: Situation) -> Turn:
    stop = f"Interrupt in the admin, or POST /api/v1/chats/{chat.chat_id}/interrupt, stops the wait."
    if chat.deadline_in is not None and chat.deadline_in <= 0:
        late = f"The client's time has been up for {seconds(-chat.deadline_in)}."
        if chat.deadline_in > -CANCELED_WITHIN:
            return Turn("a maintenance worker", f"it gives the open calls an error, and the turn goes on. {late}")
        what = f"a maintenance worker should have given the open calls an error. {late}"
        start = "Start what is missing: celery -A config beat, celery -A config worker -Q maintenance."
        return Turn(NOBODY, what, f"{ASK_THE_DOCTOR} {start} {stop}")
    if not chat.client_calls:
        return Turn(NOBODY, "the chat waits for its client, but no call is open that a client could answer.", stop)
    if chat.deadline_in is None:
        return Turn("its client", f"it answers {_tools(chat)}. There is no deadline: the chat waits for ever.", stop)
    return Turn("its client", f"it answers {_tools(chat)}, or the calls time out in {seconds(chat.deadline_in)}.")


def _tools(chat: Situation) -> str:
    return ", ".join(call.tool_name for call in chat.client_calls or chat.calls)


def _of_archived(chat: Situation) -> Turn:
    first = chat.root_id or chat.chat_id
    whole = " A sub-agent comes back with its root." if chat.root_id else ""
    what = f"an archived chat takes no message until it is brought back.{whole}"
    patch = f'PATCH /api/v1/chats/{first} with {{"archived": false}}'
    return Turn("its user", what, f"Unarchive in the admin, or {patch}, brings it back.")


def _of_invalid(chat: Situation) -> Turn:
    command = "manage.py reconcile_chats puts it right. So does " if "reconcile_chats" in chat.commands else ""
    end = "." if command else " puts it right."
    return Turn(
        NOBODY,
        "such a chat must be put right first. It then is in state error, and the next message begins a turn.",
        f"{command}POST /api/v1/chats/{chat.chat_id}/reconcile-invalid, as {chat.user},{end}".replace(",.", "."),
    )


_AT_REST: Mapping[State, Callable[[Situation], Turn]] = {
    State.W: _of_idle,
    State.E0: _of_failed,
    State.E1: _of_failed,
    State.A0: _of_waiting_for_client,
    State.A1: _of_waiting_for_client,
    State.XW: _of_archived,
    State.XE0: _of_archived,
    State.XE1: _of_archived,
    State.INVALID: _of_invalid,
}
