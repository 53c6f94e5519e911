"""One user's client of the HTTP API, in the same process: every answer is held against what the API promises.

An error must be a problem, and what succeeds must have exactly the fields of the OpenAPI document, no more, no less.
"""

import json
import re
from functools import cache
from typing import Any
from urllib.parse import unquote

from django.test import Client
from pydantic import BaseModel, ValidationError

from chat.api import api, schemas
from chat.models import ApiToken

CHATS = "/api/v1/chats"
HELLO = {"type": "text", "text": "hello"}


class Api:
    """One user's client: JSON in, (status, JSON or None) out."""

    database_is_away = False
    """The one reason for an answer of 5xx."""

    def __init__(self, client: Client, **headers: str) -> None:
        self._client, self._headers = client, headers

    def send(self, method: str, path: str, body: Any = None, *, raw: bytes | str | None = None) -> tuple[int, Any]:
        data = raw if raw is not None else b"" if body is None else json.dumps(body)
        answer = self._client.generic(method, path, data, content_type="application/json", headers=self._headers)
        assert answer.status_code < 500 or self.database_is_away, answer.content
        said = answer.json() if answer.content else None
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert said["status"] == answer.status_code
            assert {"type", "title", "code", "detail", "instance"} <= said.keys()
            assert unquote(said["instance"]) == unquote(path.partition("?")[0])
            assert said["detail"]
        else:
            _require_as_documented(method, path, answer.status_code, said)
        return answer.status_code, said

    def get(self, path: str) -> tuple[int, Any]:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None, **raw: Any) -> tuple[int, Any]:
        return self.send("POST", path, body, **raw)

    def patch(self, path: str, body: Any = None, **raw: Any) -> tuple[int, Any]:
        return self.send("PATCH", path, body, **raw)

    def delete(self, path: str) -> tuple[int, Any]:
        return self.send("DELETE", path)


@cache
def _documented() -> dict[str, Any]:
    return dict(api.get_openapi_schema()["paths"])


def _require_as_documented(method: str, path: str, status: int, said: Any) -> None:
    where = path.partition("?")[0]
    [operations] = [
        operations
        for template, operations in _documented().items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), where)
    ]
    answer = operations[method.lower()]["responses"][status]
    if "content" not in answer:
        assert said is None
        return
    schema = answer["content"]["application/json"]["schema"]
    names = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema])]
    assert any(_has_the_shape(getattr(schemas, name), said) for name in names), (names, said)


def _has_the_shape(shape: type[BaseModel], said: Any) -> bool:
    try:
        return bool(shape.model_validate(said).model_dump(mode="json") == said)
    except ValidationError:
        return False


def api_of(user: Any) -> Api:
    return Api(Client(), Authorization=f"Bearer {ApiToken.issue(user)[1]}")
