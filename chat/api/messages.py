"""Endpoints of a chat's messages: read the history, say something."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from chat import rendering, transitions
from chat.api import schemas
from chat.api.access import owned_chat
from chat.api.rendered import json_answer
from chat.models import ChatMessage
from chat.update import chat_read, chat_update

router = Router(tags=["messages"])
_PROBLEMS = dict.fromkeys((401, 404, 409, 422), schemas.Problem)
MAX_PAGE = 1000


@router.get(
    "/chats/{chat_id}/messages",
    response={200: schemas.Messages, **_PROBLEMS},
    summary="The history, oldest first, and the queue",
)
def list_messages(
    request: HttpRequest,
    chat_id: str,
    after_id: Annotated[int, Query(ge=0, lt=2**63, description="Only messages after this one.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 200,
) -> HttpResponse:
    known_id = owned_chat(request.user, chat_id)
    snapshot = chat_read(known_id)
    rows = sorted(snapshot.messages, key=lambda row: row["id"])
    visible = [row for row in rows if row["visibility"] != "model" and row["id"] > after_id]
    return json_answer(
        {
            "items": [rendering.message(row) for row in visible[:limit]],
            "queue": [rendering.queued_message(row) for row in snapshot.queue],
        }
    )


@router.post(
    "/chats/{chat_id}/messages",
    response={201: schemas.SentMessage, 202: schemas.Queued, **_PROBLEMS},
    summary="Say something; a busy chat queues it",
)
def send_message(request: HttpRequest, chat_id: str, body: schemas.SendMessage) -> HttpResponse:
    known_id = owned_chat(request.user, chat_id)
    with chat_update(known_id) as update:
        sent = transitions.send_message(
            update,
            parts=body.as_parts(),
            author=request.user,
            busy_behavior=body.busy_behavior,
            model=body.model,
        )
    row = vars(sent)
    if isinstance(sent, ChatMessage):
        return json_answer({"message": rendering.message(row)}, status=201)
    return json_answer({"queued_message": rendering.queued_message(row)}, status=202)
