"""How the wait for a client's tool calls ends: the client answers, or somebody stops waiting."""

from collections.abc import Sequence
from typing import Any

from chat import content
from chat.draft import NewMessage
from chat.execution import Transition
from chat.inputs import answered_calls
from chat.models import ChatMessage
from chat.transitions.effects import resume
from chat.transitions.guard import transition
from chat.update import ChatUpdate


@transition(Transition.COMPLETE_REQUIRES_ACTION)
def complete_requires_action(
    update: ChatUpdate, results: Sequence[dict[str, Any]], *, suffix: Sequence[NewMessage] = ()
) -> list[ChatMessage]:
    """The client's results, exactly one for each of its pending calls; the turn goes on.

    `results`: {"tool_call_id", "output", "is_error"?}; `suffix`: messages that follow them at once. Raises
    `ToolResultMissing`, `ToolResultUnexpected`, `ToolResultDuplicate`, `ToolResultInvalid`; then nothing changes, the
    deadline included.
    """
    answers = [
        content.tool_result(known.call, known.result.output, is_error=known.result.is_error)
        for known in answered_calls(update.history.client_calls(), list(results))
    ]
    added = [update.history.add("tool", [answer]) for answer in answers]
    resume(update)
    return added + [update.history.append(message) for message in suffix]


@transition(Transition.CANCEL_REQUIRES_ACTION)
def cancel_requires_action(update: ChatUpdate, reason: str = content.TIMED_OUT) -> None:
    """Nobody waits for the client any longer: its calls get an error that says why, and the turn goes on."""
    update.history.close_calls(update.history.client_calls(), reason)
    resume(update)
