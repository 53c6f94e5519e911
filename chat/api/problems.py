"""Every refusal as `application/problem+json` (RFC 9457), translated here and nowhere else."""

import json
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError

from chat.api.access import Unauthenticated
from chat.errors import ChatNotFound, ChatRefusal

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem_of(refusal: ChatRefusal, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that say why."""
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    if refusal.status == 503:
        headers["Retry-After"] = "1"
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return refusal.status, headers, _body(refusal.status, refusal.code, refusal.detail, path, refusal.details)


def _body(status: int, code: str, detail: str, path: str, more: dict[str, Any]) -> bytes:
    body = {
        "type": f"urn:chatd:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "instance": path,
        **more,
    }
    return json.dumps(body, default=str).encode()


def _answer(request: HttpRequest, refusal: ChatRefusal) -> HttpResponse:
    status, headers, body = problem_of(refusal, request.path)
    return HttpResponse(body, status=status, headers=headers)


class Invalid(ChatRefusal):
    """The request is not of the form that this endpoint takes."""

    code = "invalid"
    status = 422


class Forbidden(ChatRefusal):
    """The request lacks what proves that your browser means it: send the CSRF token."""

    code = "forbidden"
    status = 403


nowhere = Router()


@nowhere.api_operation(["GET", "POST", "PUT", "PATCH", "DELETE"], "/{path:rest}", auth=None, include_in_schema=False)
def not_here(request: HttpRequest, rest: str) -> HttpResponse:
    """What no other endpoint matches."""
    raise ChatNotFound("There is nothing here.")


class Unavailable(ChatRefusal):
    """The database did not answer in time. What you sent may have happened: look before you send it again."""

    code = "unavailable"
    status = 503


DATABASE_AWAY = (OperationalError, InterfaceError)
"""What an outage, a restart or a row that somebody else holds for too long looks like."""


def install_problem_handlers(api: NinjaAPI) -> None:
    """Teach `api` to answer every anticipated refusal; what is not anticipated stays loud."""

    @api.exception_handler(ChatRefusal)
    def refused(request: HttpRequest, refusal: ChatRefusal) -> HttpResponse:
        return _answer(request, refusal)

    def unavailable(request: HttpRequest, error: Any) -> HttpResponse:
        logger.warning("request.unavailable", path=request.path, error=repr(error).strip())
        return _answer(request, Unavailable())

    for outage in DATABASE_AWAY:
        api.add_exception_handler(outage, unavailable)

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        fields = [
            {"field": ".".join(str(step) for step in one["loc"][1:]), "message": one["msg"]} for one in error.errors
        ]
        detail = "; ".join(f"{one['field']}: {one['message']}" for one in fields)
        return _answer(request, Invalid(detail, fields=fields))

    @api.exception_handler(AuthenticationError)
    def unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        return _answer(request, Unauthenticated())

    @api.exception_handler(Http404)
    def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
        return _answer(request, ChatNotFound("There is nothing here."))

    @api.exception_handler(HttpError)
    def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
        if error.status_code == 403:
            return _answer(request, Forbidden())
        return _answer(request, Invalid(str(error)))
