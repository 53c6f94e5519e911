"""Answers from one reading of the database, encoded once."""

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponse

from chat import rendering
from chat.capacity import places_in_line
from chat.models import ChatMessage, QueuedMessage
from chat.update import ChatUpdate, chat_read


def json_answer(body: Any, *, status: int = 200) -> HttpResponse:
    """`body` is of plain JSON values already; a second pass through a schema would only cost time."""
    return HttpResponse(
        json.dumps(body, ensure_ascii=False, separators=(",", ":")), status=status, content_type="application/json"
    )


def rendered_chat(chat_id: UUID) -> dict[str, Any]:
    """A chat with what only a whole reading knows: usage, and pending calls."""
    snapshot = chat_read(chat_id)
    usage: dict[str, int] = {}
    for message in snapshot.messages:
        for name, count in (message["usage"] or {}).items():
            usage[name] = usage.get(name, 0) + count
    place = places_in_line([snapshot.chat]).get(chat_id)
    answer = rendering.chat(snapshot.chat, snapshot.state, usage=usage or None, place=place)
    if answer["requires_action"] is not None:
        answer["requires_action"]["calls"] = rendering.client_calls(snapshot.chat, snapshot.messages)
    return answer


def sent_answer(
    update: ChatUpdate, sent: ChatMessage | QueuedMessage, *, said: int = 200, queued: int = 200
) -> HttpResponse:
    """`{"message"}` with status `said` for what is in the history now, `{"queued_message"}` for what still waits."""
    if isinstance(sent, ChatMessage):
        return json_answer({"message": rendering.message(vars(sent))}, status=said)
    place = update.queue.place_of(sent)
    return json_answer({"queued_message": rendering.queued_message(vars(sent), place)}, status=queued)
