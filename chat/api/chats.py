"""Endpoints of a chat as a whole: start it, look at it, stop it, follow it."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from chat import rendering, transitions
from chat.api import schemas
from chat.api.access import owned_chat
from chat.api.rendered import json_answer, rendered_chat
from chat.update import chat_update

router = Router(tags=["chats"])
_PROBLEMS = dict.fromkeys((401, 404, 409, 422), schemas.Problem)


@router.post("/chats", response={201: schemas.Chat, **_PROBLEMS}, summary="Start a chat with its first message")
def create_chat(request: HttpRequest, body: schemas.NewChat) -> HttpResponse:
    chat = transitions.create_chat(
        owner=request.user,
        parts=body.message.as_parts(),
        model=body.model,
        title=body.title,
        labels=body.labels,
        system=body.system,
    )
    return json_answer(rendering.chat(chat, "R0"), status=201)


@router.get("/chats/{chat_id}", response={200: schemas.Chat, **_PROBLEMS}, summary="A chat and its state")
def get_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    return json_answer(rendered_chat(owned_chat(request.user, chat_id)))


@router.post(
    "/chats/{chat_id}/interrupt",
    response={200: schemas.Chat, **_PROBLEMS},
    summary="Stop the running answer and keep what was streamed",
)
def interrupt_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    known_id = owned_chat(request.user, chat_id)
    with chat_update(known_id) as update:
        transitions.interrupt(update)
    return json_answer(rendering.chat(update.chat, update.state))


@router.get(
    "/chats/{chat_id}/stream",
    summary="Follow a chat live (server-sent events)",
    description="`text/event-stream`; reconnect with `Last-Event-ID` or `cursor`. Served before Django: docs/api.md.",
    response={200: Any, **_PROBLEMS},
)
def stream_chat(
    request: HttpRequest,
    chat_id: str,
    cursor: Annotated[str, Query(description="The id of the last event that was received.")] = "",
    until: Annotated[str, Query(description='"idle": end once the chat needs nobody.')] = "",
) -> HttpResponse:
    owned_chat(request.user, chat_id)
    return HttpResponse("Streams need the ASGI server: uvicorn config.asgi:application\n", status=501)
