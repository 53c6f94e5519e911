"""The examples of docs/api.md do what they say."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from chat.execution import State
from chat.models import ChatMessage, QueuedMessage
from tests.api_client import Api, api_of
from tests.factories import chat_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^api ([A-Z]+ .*)$", PAGE, re.M)
STATES = {
    "POST /chats/$CHAT/interrupt": State.R1,
    "POST /chats/$CHAT/messages": State.R0,
    "POST /chats/$CHAT/tool-results": State.A0,
    "DELETE /chats/$CHAT": State.XW,
}
"""In which state an example finds the chat, where the queue's (running) or the history's (waiting) will not do."""


@pytest.fixture
def api(user: Any) -> Api:
    return api_of(user)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works(api: Api, user: Any, example: str) -> None:
    method, path, *body = shlex.split(example, comments=True)
    chat_id = chat_in(STATES.get(f"{method} {path}", State.R1 if "queue" in path else State.W), user)
    named = {
        "$CHAT": str(chat_id),
        "$MESSAGE": str(ChatMessage.objects.filter(chat_id=chat_id).order_by("id")[0].pk),
        "$QUEUED": str(QueuedMessage.objects.filter(chat_id=chat_id).values_list("pk", flat=True).first()),
    }
    for name, value in named.items():
        path = path.replace(name, value)
    status, answer = api.send(method, f"/api/v1{path}", *map(json.loads, body))
    assert status in (200, 201, 202, 204), answer


def test_there_is_an_example_of_everything_that_a_person_does() -> None:
    assert len(EXAMPLES) >= 18
