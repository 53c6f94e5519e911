"""`@transition(NAME)`: the table's check around a transition's body."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from chat.execution import Transition
from chat.update import ChatUpdate

P = ParamSpec("P")
R = TypeVar("R")


def transition(
    name: Transition,
) -> Callable[[Callable[Concatenate[ChatUpdate, P], R]], Callable[Concatenate[ChatUpdate, P], R]]:
    """The decorated function raises `TransitionNotAllowed` or `InvalidState` where the table has no entry."""

    def decorate(body: Callable[Concatenate[ChatUpdate, P], R]) -> Callable[Concatenate[ChatUpdate, P], R]:
        @wraps(body)
        def guarded(update: ChatUpdate, *args: P.args, **kwargs: P.kwargs) -> R:
            with update.moving(name):
                return body(update, *args, **kwargs)

        return guarded

    return decorate
