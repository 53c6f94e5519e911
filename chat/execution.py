"""The state machine of a chat: which transition is allowed in which state, and where it may lead.

One table, and nothing else: no Django, no database, no clock. The door (`chat/update.py`) checks every
transition against it twice, at departure and at arrival, so that neither a caller nor a transition's own
code can leave the table. `R1`, for example, reads "running, with at least one queued message".
"""

from collections.abc import Set
from enum import StrEnum


class Status(StrEnum):
    """The `status` column of a chat row."""

    WAITING = "waiting"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    REQUIRES_ACTION = "requires_action"
    ERROR = "error"


class State(StrEnum):
    """What status, archived and queue of a chat say together; never stored, always read off the row."""

    N = "N"
    W = "W"
    E0 = "E0"
    E1 = "E1"
    R0 = "R0"
    R1 = "R1"
    I0 = "I0"
    I1 = "I1"
    A0 = "A0"
    A1 = "A1"
    XW = "XW"
    XE0 = "XE0"
    XE1 = "XE1"
    INVALID = "Invalid"


class Transition(StrEnum):
    CREATE = "create"
    SEND_MESSAGE_QUEUE = "send_message_queue"
    SEND_MESSAGE_INTERRUPT = "send_message_interrupt"
    EDIT_MESSAGE = "edit_message"
    UPDATE_QUEUED_MESSAGE = "update_queued_message"
    DELETE_QUEUED_MESSAGE = "delete_queued_message"
    PROMOTE_QUEUED_MESSAGE = "promote_queued_message"
    INTERRUPT = "interrupt"
    REQUEST_COMPACTION = "request_compaction"
    CLEAR_CONTEXT = "clear_context"
    RECORD_GENERATION_ATTEMPT = "record_generation_attempt"
    RECORD_RETRY_STATE = "record_retry_state"
    COMMIT_STEP = "commit_step"
    ABSORB_STEERING = "absorb_steering"
    ENTER_REQUIRES_ACTION = "enter_requires_action"
    COMPLETE_REQUIRES_ACTION = "complete_requires_action"
    CANCEL_REQUIRES_ACTION = "cancel_requires_action"
    FINISH_TURN = "finish_turn"
    FINISH_ERROR = "finish_error"
    FINISH_INTERRUPTION = "finish_interruption"
    SET_ARCHIVED_TRUE = "set_archived_true"
    SET_ARCHIVED_FALSE = "set_archived_false"
    RECONCILE_INVALID_STATE = "reconcile_invalid_state"
    ACQUIRE = "acquire"
    ABANDON = "abandon"


N, W, E0, E1, R0, R1, I0, I1, A0, A1, XW, XE0, XE1, INVALID = State

RUNNABLE = frozenset({R0, R1, I0, I1})
"""States in which a worker has something to do."""

_UNCHANGED: dict[State, Set[State]] = {state: {state} for state in State if state is not N}

ALLOWED: dict[Transition, dict[State, Set[State]]] = {
    Transition.CREATE: {N: {R0}},
    Transition.SEND_MESSAGE_QUEUE: {
        W: {R0}, E0: {R0}, E1: {R1}, R0: {R1}, R1: {R1}, I0: {I1}, I1: {I1}, A0: {A1}, A1: {A1},
    },
    Transition.SEND_MESSAGE_INTERRUPT: {
        W: {R0}, E0: {R0}, E1: {R1}, R0: {I1}, R1: {I1}, I0: {I1}, I1: {I1}, A0: {R1}, A1: {R1},
    },
    Transition.EDIT_MESSAGE: {
        W: {R0}, E0: {R0}, E1: {R0}, R0: {R0}, R1: {R0}, I0: {R0}, I1: {R0}, A0: {R0}, A1: {R0},
    },
    Transition.UPDATE_QUEUED_MESSAGE: {E1: {E1}, R1: {R1}, I1: {I1}, A1: {A1}},
    Transition.DELETE_QUEUED_MESSAGE: {E1: {E0, E1}, R1: {R0, R1}, I1: {I0, I1}, A1: {A0, A1}},
    Transition.PROMOTE_QUEUED_MESSAGE: {E1: {R0, R1}, R1: {I1}, I1: {I1}, A1: {R0, R1}},
    Transition.INTERRUPT: {R0: {I0}, R1: {I1}, A0: {R0}, A1: {R1}},
    Transition.REQUEST_COMPACTION: {W: {R0}, E0: {R0}, E1: {R1}},
    Transition.CLEAR_CONTEXT: {W: {W}, E0: {W}},
    Transition.RECORD_GENERATION_ATTEMPT: {R0: {R0}, R1: {R1}},
    Transition.RECORD_RETRY_STATE: {R0: {R0}, R1: {R1}},
    Transition.COMMIT_STEP: {R0: {R0}, R1: {R1}},
    Transition.ABSORB_STEERING: {R1: {R0, R1}},
    Transition.ENTER_REQUIRES_ACTION: {R0: {A0}, R1: {A1}},
    Transition.COMPLETE_REQUIRES_ACTION: {A0: {R0}, A1: {R1}},
    Transition.CANCEL_REQUIRES_ACTION: {A0: {R0}, A1: {R1}},
    Transition.FINISH_TURN: {R0: {W}, R1: {R0, R1}},
    Transition.FINISH_ERROR: {W: {E0}, R0: {E0}, R1: {E1}},
    Transition.FINISH_INTERRUPTION: {I0: {W}, I1: {R0, R1}},
    Transition.SET_ARCHIVED_TRUE: {W: {XW}, E0: {XE0}, E1: {XE1}},
    Transition.SET_ARCHIVED_FALSE: {XW: {W}, XE0: {E0}, XE1: {E1}},
    Transition.RECONCILE_INVALID_STATE: {INVALID: {E0, E1}},
    Transition.ACQUIRE: _UNCHANGED,
    Transition.ABANDON: _UNCHANGED,
}  # fmt: skip

_BY_TUPLE: dict[tuple[str, bool, bool], State] = {
    (Status.WAITING, False, False): W,
    (Status.ERROR, False, False): E0,
    (Status.ERROR, False, True): E1,
    (Status.RUNNING, False, False): R0,
    (Status.RUNNING, False, True): R1,
    (Status.INTERRUPTING, False, False): I0,
    (Status.INTERRUPTING, False, True): I1,
    (Status.REQUIRES_ACTION, False, False): A0,
    (Status.REQUIRES_ACTION, False, True): A1,
    (Status.WAITING, True, False): XW,
    (Status.ERROR, True, False): XE0,
    (Status.ERROR, True, True): XE1,
}


def classify(status: str | None, archived: bool = False, queued: int | bool = False) -> State:
    """The state of a chat row.

    `status`: the column, or None for "no row"; `queued`: how many messages wait in the queue.
    Every combination that the machine does not know is `State.INVALID`.
    """
    if status is None:
        return N
    return _BY_TUPLE.get((status, bool(archived), bool(queued)), INVALID)


def arrivals(transition: Transition, departure: State) -> Set[State]:
    """The states that `transition` may lead to from `departure`; empty: it is not allowed there."""
    return ALLOWED[transition].get(departure, frozenset())
