"""What the next step of a turn is: a function from the history to a value. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chat.content import calls_in, outstanding_calls

MAX_STEPS_PER_TURN = 1200
"""Model calls in one turn; more is a model that talks to itself at somebody's expense."""


@dataclass(frozen=True, slots=True)
class Plan:
    action: Literal["generate", "execute_tools", "finish_turn", "give_up"]
    calls: tuple[dict[str, Any], ...] = ()
    """For `execute_tools`: the calls without a result, in the order in which they were made."""


def decide(history: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> Plan:
    """`history`: (role, parts) of what the model sees, in order; the last user message or earlier must be in it."""
    if calls := outstanding_calls(history):
        return Plan("execute_tools", tuple(calls))
    role, parts = history[-1] if history else ("", ())
    if role == "assistant" and not calls_in(parts):
        return Plan("finish_turn")
    if steps_in_turn(history) >= MAX_STEPS_PER_TURN:
        return Plan("give_up")
    return Plan("generate")


def steps_in_turn(history: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> int:
    """The assistant's messages since the last one of the user."""
    steps = 0
    for role, _ in reversed(history):
        if role == "user":
            break
        steps += role == "assistant"
    return steps
