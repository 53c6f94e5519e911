"""Every refusal, as a class: a sentence (the docstring), a code, an HTTP status and details.

A refusal is the client's business and is translated once, at the edge (`chat/api/problems.py`). `StaleFence` is
nobody's: work that lost its right to commit ends quietly. Knows neither Django nor HTTP.
"""

from typing import Any, ClassVar


class ChatRefusal(Exception):
    """The request was understood and refused; nothing was changed."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 409

    def __init__(self, detail: str = "", **details: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n", maxsplit=1)[0]
        self.details = details
        super().__init__(self.detail)


class ChatNotFound(ChatRefusal):
    """There is no such chat, or it is not yours."""

    code = "not_found"
    status = 404


class MessageNotFound(ChatRefusal):
    """There is no such message in this chat's history."""

    code = "not_found"
    status = 404


class NotAUserMessage(ChatRefusal):
    """Only messages of a user can be edited."""

    code = "not_a_user_message"


class QueuedMessageNotFound(ChatRefusal):
    """There is no such message in this chat's queue: it may have begun, or been deleted."""

    code = "not_found"
    status = 404


class TransitionNotAllowed(ChatRefusal):
    """The chat's state does not allow this."""

    code = "transition_not_allowed"

    def __init__(self, transition: str, state: str, detail: str = "") -> None:
        super().__init__(
            detail or f"A chat in state {state} does not allow {transition}.",
            transition=str(transition),
            state=str(state),
        )
        self.transition, self.state = transition, state
        self.reason = detail
        """More than that the table says no; "" where that is all."""


class InvalidState(TransitionNotAllowed):
    """The chat's row is in a combination of status, archived and queue that the machine does not know."""

    code = "invalid_state"


class QueueFull(ChatRefusal):
    """The chat's queue is full: wait for the running turn, or delete a queued message."""

    code = "queue_full"


class PositionInvalid(ChatRefusal):
    """The queue has no such position: the head is 1."""

    code = "invalid"
    status = 422


class NothingToAbsorb(ChatRefusal):
    """No queued message of this chat is marked to steer the running turn."""

    code = "nothing_to_absorb"


class FamilyArchived(ChatRefusal):
    """The family of this chat is archived: unarchive its root first."""

    code = "family_archived"


class MessageInvalid(ChatRefusal):
    """The message has no content that this chat can take."""

    code = "invalid"
    status = 422


class BusyBehaviorUnknown(ChatRefusal):
    """`busy_behavior` is "queue", "interrupt" or "steer"."""

    code = "invalid"
    status = 422


class OptionsInvalid(ChatRefusal):
    """The options for the model are not of the form that this chat takes."""

    code = "invalid"
    status = 422


class HistoryNotWellFormed(ChatRefusal):
    """The step would leave a tool call without its one result, or a result without its call."""

    code = "history_not_well_formed"


class NoClientCalls(ChatRefusal):
    """The chat waits for no call that its client could answer."""

    code = "no_client_calls"


class ToolResultRefused(ChatRefusal):
    """The results do not answer the pending calls; the chat goes on waiting for them."""

    code = "invalid"
    status = 422


class ToolResultMissing(ToolResultRefused):
    """Each pending call needs its result: some are missing."""


class ToolResultUnexpected(ToolResultRefused):
    """A result answers no pending call of the client."""


class ToolResultDuplicate(ToolResultRefused):
    """A call has more than one result."""


class ToolResultInvalid(ToolResultRefused):
    """A result is not of the form {"tool_call_id", "output", "is_error"}."""


class ModelUnknown(ChatRefusal):
    """The catalogue has no such model: see the admin, or add it with `manage.py add_model`."""

    code = "invalid"
    status = 422


class StaleFence(Exception):
    """The chat moved on since this work began: it may not commit. An expected end, never retried."""
