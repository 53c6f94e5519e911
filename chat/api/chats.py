"""Endpoints of a chat as a whole: start it, find it, look at it, keep it in order, delete it."""

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from chat import rendering, transitions
from chat.api import deletion, listing, schemas
from chat.api.access import owned_chat
from chat.api.properties import set_properties
from chat.api.rendered import json_answer, rendered_chat

router = Router(tags=["chats"])


@router.post("/chats", response={201: schemas.Chat, **schemas.PROBLEMS}, summary="Start a chat with its first message")
def create_chat(request: HttpRequest, body: schemas.NewChat) -> HttpResponse:
    chat = transitions.create_chat(
        owner=request.user,
        parts=body.message.as_parts(),
        model=body.model,
        options=schemas.options_of(body.options),
        title=body.title,
        labels=body.labels,
        system=body.system,
    )
    return json_answer(rendering.chat(chat, "R0"), status=201)


@router.get("/chats", response={200: schemas.Chats, **schemas.PROBLEMS}, summary="Your chats, newest activity first")
def list_chats(request: HttpRequest, query: Query[schemas.ChatList]) -> HttpResponse:
    return json_answer(listing.list_chats(request.user, query))


@router.get("/chats/{chat_id}", response={200: schemas.Chat, **schemas.PROBLEMS}, summary="A chat and its state")
def get_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    return json_answer(rendered_chat(owned_chat(request.user, chat_id)))


@router.patch(
    "/chats/{chat_id}",
    response={200: schemas.Chat, **schemas.PROBLEMS},
    summary="Say what should be: title, labels, pin, model, archived",
)
def change_chat(request: HttpRequest, chat_id: str, body: schemas.ChatPatch) -> HttpResponse:
    known_id = owned_chat(request.user, chat_id)
    set_properties(known_id, body.wanted())
    return json_answer(rendered_chat(known_id))


@router.delete(
    "/chats/{chat_id}", response={204: None, **schemas.PROBLEMS}, summary="Delete an archived chat, for good"
)
def delete_chat(request: HttpRequest, chat_id: str) -> HttpResponse:
    deletion.delete_chat(owned_chat(request.user, chat_id))
    return HttpResponse(status=204)
