"""Pressing a button, for one chat or many: who may, what is said afterwards, and who did it.

Each chat has its own transaction, so a refusal of one undoes nothing of another. What was done is written to Django's
log of the admin, under the chat's history.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest

from chat.admin.buttons import Button, why_not
from chat.errors import ChatRefusal, TransitionNotAllowed
from chat.execution import State, classify
from chat.explain.meaning import MEANING
from chat.models import Chat, QueuedMessage

MOST_AT_ONCE = 500
"""Chats of one bulk action: a few milliseconds each, while somebody waits for the page."""
NAMED = 3
"""Refused chats that are named for each reason; the rest is counted."""
NO_ANSWER = "The database did not answer in time, or somebody holds the chat's row. Try again."


@dataclass(frozen=True, slots=True)
class Outcome:
    done: Sequence[UUID]
    refused: dict[str, list[UUID]]
    """By the reason, in words."""


def may_press(request: HttpRequest) -> bool:
    """Whether the user may do more than look."""
    return bool(request.user.has_perm("chat.change_chat"))


def press(button: Button, chat_ids: Sequence[UUID]) -> Outcome:
    done: list[UUID] = []
    refused: dict[str, list[UUID]] = defaultdict(list)
    for chat_id in chat_ids:
        try:
            button.press(chat_id)
        except TransitionNotAllowed as refusal:
            refused[refusal.reason or why_not(button, State(refusal.state))].append(chat_id)
        except ChatRefusal as refusal:
            refused[refusal.detail].append(chat_id)
        except (OperationalError, InterfaceError):
            refused[NO_ANSWER].append(chat_id)
        else:
            done.append(chat_id)
    return Outcome(done, dict(refused))


def press_and_tell(request: HttpRequest, button: Button, chat_ids: Sequence[UUID]) -> None:
    """Press it for each of the chats; messages on the next page say how many were done, and why others were not."""
    outcome = press(button, chat_ids)
    if outcome.done:
        chats: list[Any] = list(Chat.objects.filter(pk__in=outcome.done))
        LogEntry.objects.log_actions(
            request.user.pk,  # type: ignore[arg-type]
            chats,
            CHANGE,
            f"{button.label}: {button.done}.",
        )
        if len(chat_ids) == 1:
            state = classify(chats[0].status, chats[0].archived, QueuedMessage.objects.filter(chat=chats[0]).exists())
            messages.success(request, f"Chat {chats[0].pk} {button.done}. State {state}: {MEANING[state]}")
        else:
            messages.success(request, f"{_count(len(outcome.done))} {button.done}.")
    for reason, chats_refused in outcome.refused.items():
        named = ", ".join(map(str, chats_refused[:NAMED]))
        rest = f" and {len(chats_refused) - NAMED} more" if len(chats_refused) > NAMED else ""
        if len(chat_ids) == 1:
            messages.error(request, reason)
        else:
            messages.error(request, f"{_count(len(chats_refused))} refused: {reason} ({named}{rest})")


def _count(number: int) -> str:
    return f"{number} chat{'' if number == 1 else 's'}"
