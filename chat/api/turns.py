"""Endpoints of a chat's running turn: stop it, answer its calls, put it right, follow it."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from chat import rendering, transitions
from chat.api import schemas
from chat.api.access import owned_chat
from chat.api.rendered import json_answer
from chat.stopping import stop_chat
from chat.update import ChatUpdate, chat_update

router = Router(tags=["turns"])


@router.post(
    "/chats/{chat_id}/interrupt",
    response={200: schemas.Chat, **schemas.PROBLEMS},
    summary="Stop the running answer and keep what was streamed",
)
def interrupt_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    return _committed(stop_chat(owned_chat(request.user, chat_id)))


@router.post(
    "/chats/{chat_id}/tool-results",
    response={200: schemas.Chat, **schemas.PROBLEMS},
    summary="Answer the calls that wait for the client",
)
def send_tool_results(request: HttpRequest, chat_id: str, body: schemas.ToolResults) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        transitions.complete_requires_action(update, [result.model_dump() for result in body.results])
    return _committed(update)


@router.post(
    "/chats/{chat_id}/reconcile-invalid",
    response={200: schemas.Chat, **schemas.PROBLEMS},
    summary="Put a chat in an invalid state right",
)
def reconcile_invalid_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        transitions.reconcile_invalid_state(update)
    return _committed(update)


def _committed(update: ChatUpdate) -> HttpResponse:
    """The chat as the request has left it, whatever happened since."""
    return json_answer(rendering.chat(update.chat, update.state))


@router.get(
    "/chats/{chat_id}/stream",
    summary="Follow a chat live (server-sent events)",
    description="`text/event-stream`; reconnect with `Last-Event-ID` or `cursor`. Served before Django: docs/api.md.",
    response={200: Any, **schemas.PROBLEMS},
)
def stream_chat(
    request: HttpRequest,
    chat_id: str,
    cursor: Annotated[str, Query(description="The id of the last event that was received.")] = "",
    until: Annotated[str, Query(description='"idle": end once the chat needs nobody.')] = "",
) -> HttpResponse:
    owned_chat(request.user, chat_id)
    return HttpResponse("Streams need the ASGI server: uvicorn config.asgi:application\n", status=501)
