"""Every refusal as `application/problem+json` (RFC 9457), translated here and nowhere else."""

import json
import re
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import structlog
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from ninja import NinjaAPI, Router
from ninja.errors import AuthenticationError, HttpError, ValidationError

from chat.api.access import Unauthenticated
from chat.errors import ChatNotFound, ChatRefusal
from chat.outage import DATABASE_AWAY

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem_of(refusal: ChatRefusal, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that say why."""
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    if refusal.status == 503:
        headers["Retry-After"] = "1"
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.status == 405:
        headers["Allow"] = ", ".join(refusal.details["allowed"])
    return refusal.status, headers, _body(refusal.status, refusal.code, refusal.detail, path, refusal.details)


def _body(status: int, code: str, detail: str, path: str, more: dict[str, Any]) -> bytes:
    body = {
        "type": f"urn:chatd:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "instance": escape_uri_path(path),
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


class MethodNotAllowed(ChatRefusal):
    """This path does not take that method; `allowed` says which."""

    code = "method_not_allowed"
    status = 405


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
nowhere = Router()


@nowhere.api_operation(METHODS, "/{path:rest}", auth=None, include_in_schema=False)
def not_here(request: HttpRequest, rest: str) -> HttpResponse:
    """What no other endpoint matches."""
    raise ChatNotFound("There is nothing here.")


def refuse_other_methods(router: Router) -> None:
    """Every path of `router` answers the methods that it does not take with a problem as well."""
    for path, view in router.path_operations.items():
        allowed = [method for operation in view.operations for method in operation.methods]
        others = [method for method in METHODS if method not in allowed]
        router.add_api_operation(path, others, _refusal_of_method(path, allowed), auth=None, include_in_schema=False)


def _refusal_of_method(path: str, allowed: list[str]) -> Callable[..., HttpResponse]:
    def refuse(*_: Any, **__: Any) -> HttpResponse:
        raise MethodNotAllowed(allowed=allowed)

    names = ["request", *re.findall(r"{(\w+)}", path)]  # ninja wants to see what the path holds
    vars(refuse)["__signature__"] = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])
    return refuse


class Unavailable(ChatRefusal):
    """The database did not answer in time. What you sent may have happened: look before you send it again."""

    code = "unavailable"
    status = 503


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
