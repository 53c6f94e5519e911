"""Endpoints of what is still to be said: change it, take it back, let it go first."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from chat import transitions
from chat.api import schemas
from chat.api.access import owned_chat, row_id
from chat.api.rendered import sent_answer
from chat.errors import QueuedMessageNotFound
from chat.update import chat_update

router = Router(tags=["queue"])


@router.patch(
    "/chats/{chat_id}/queue/{queued_id}",
    response={200: schemas.Queued, **schemas.PROBLEMS},
    summary="Give a queued message another place, other words, or both",
)
def update_queued_message(request: HttpRequest, chat_id: str, queued_id: str, body: schemas.QueuePatch) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        queued = transitions.update_queued_message(
            update,
            queued_id=row_id(queued_id, QueuedMessageNotFound),
            parts=body.as_parts(),
            position=body.position,
        )
    return sent_answer(update, queued)


@router.delete(
    "/chats/{chat_id}/queue/{queued_id}",
    response={204: None, **schemas.PROBLEMS},
    summary="Take a queued message back: it is never said",
)
def delete_queued_message(request: HttpRequest, chat_id: str, queued_id: str) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        transitions.delete_queued_message(update, queued_id=row_id(queued_id, QueuedMessageNotFound))
    return HttpResponse(status=204)


@router.post(
    "/chats/{chat_id}/queue/{queued_id}/promote",
    response={200: schemas.SentMessage | schemas.Queued, **schemas.PROBLEMS},
    summary="Let a queued message go first; a busy chat stops for it",
)
def promote_queued_message(request: HttpRequest, chat_id: str, queued_id: str) -> HttpResponse:
    with chat_update(owned_chat(request.user, chat_id)) as update:
        promoted = transitions.promote_queued_message(update, queued_id=row_id(queued_id, QueuedMessageNotFound))
    return sent_answer(update, promoted)
