"""Who works on a chat. Neither transition looks at anything else: the worker has checked under the same lock."""

from uuid import UUID

from chat.errors import TransitionNotAllowed
from chat.execution import Transition
from chat.transitions.guard import transition
from chat.update import ChatUpdate


@transition(Transition.ACQUIRE)
def acquire(update: ChatUpdate, *, worker_id: UUID, runner_id: UUID) -> None:
    """The chat belongs to this runner, with a fresh lease; those of earlier owners are gone."""
    update.set_owner(worker_id, runner_id)


@transition(Transition.ABANDON)
def abandon(update: ChatUpdate) -> None:
    """The chat belongs to nobody. Refused where it already does."""
    if update.chat.runner_id is None:
        raise TransitionNotAllowed(Transition.ABANDON, update.state, "Nobody owns this chat.")
    update.clear_owner()
