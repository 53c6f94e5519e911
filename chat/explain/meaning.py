"""What each state means, in one sentence. Pure."""

from collections.abc import Mapping

from chat.execution import State, Status

MEANING: Mapping[State, str] = {
    State.N: "there is no such chat.",
    State.W: "waiting. The chat is idle.",
    State.E0: "error. The chat has stopped on an error.",
    State.E1: "error, with a queue. The chat has stopped on an error, and messages wait in its queue.",
    State.R0: "running. There is work to do.",
    State.R1: "running, with a queue. There is work to do, and messages wait for their turn.",
    State.I0: "interrupting. A stop is requested: what was streamed must be saved.",
    State.I1: "interrupting, with a queue. What was streamed must be saved; then the queue goes on.",
    State.A0: "requires_action. The chat waits for results of tools that its client executes.",
    State.A1: "requires_action, with a queue. The chat waits for its client's tools, and messages wait for their turn.",
    State.XW: "archived, waiting. The chat is idle and put away.",
    State.XE0: "archived, error. The chat had stopped on an error, and was put away.",
    State.XE1: "archived, error, with a queue. The chat had stopped on an error, and was put away with its queue.",
    State.INVALID: "a combination that the state machine does not know.",
}


def why_invalid(status: str, archived: bool, queued: int) -> str:
    """Which part of the combination is the impossible one."""
    if status not in set(Status):
        return f"The status {status!r} is none of {', '.join(Status)}."
    if archived and status not in (Status.WAITING, Status.ERROR):
        return f"The chat is archived, and {status} at the same time."
    return f"The chat is waiting, but its queue holds {queued}{', and it is archived' if archived else ''}."
