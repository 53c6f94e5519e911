"""Endpoints of a chat's messages: read the history, say something, say it otherwise."""

from typing import Annotated

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from chat import rendering, transitions
from chat.api import schemas
from chat.api.access import owned_chat, row_id
from chat.api.rendered import json_answer, sent_answer
from chat.crash import crash_point
from chat.errors import MessageNotFound
from chat.update import chat_read, chat_update

router = Router(tags=["messages"])
MAX_PAGE = 1000


@router.get(
    "/chats/{chat_id}/messages",
    response={200: schemas.Messages, **schemas.PROBLEMS},
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
            "queue": rendering.queue(snapshot.queue),
        }
    )


@router.post(
    "/chats/{chat_id}/messages",
    response={201: schemas.SentMessage, 202: schemas.Queued, **schemas.PROBLEMS},
    summary="Say something; a busy chat queues it",
)
def send_message(request: HttpRequest, chat_id: str, body: schemas.SendMessage) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        sent = transitions.send_message(
            update,
            parts=body.as_parts(),
            author=request.user,
            busy_behavior=body.busy_behavior,
            model=body.model,
            options=schemas.options_of(body.options),
        )
        crash_point("post.commit.before")
    crash_point("post.commit.after")
    return sent_answer(update, sent, said=201, queued=202)


@router.patch(
    "/chats/{chat_id}/messages/{message_id}",
    response={200: schemas.SentMessage, **schemas.PROBLEMS},
    summary="Say it otherwise: what came after it makes way, and the chat answers again",
)
def edit_message(request: HttpRequest, chat_id: str, message_id: str, body: schemas.EditMessage) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        replacement = transitions.edit_message(
            update,
            message_id=row_id(message_id, MessageNotFound),
            parts=body.as_parts(),
            author=request.user,
            model=body.model,
            options=schemas.options_of(body.options),
        )
    return sent_answer(update, replacement)
