"""The HTTP API under `/api/v1`: thin endpoints over the transitions.

chats.py       a chat as a whole               listing.py     pages of chats, newest activity first
messages.py    what was said                   properties.py  title, labels, pin, model, archived: one PATCH
queue.py       what is still to be said        deletion.py    an archived chat and its family, for good
turns.py       stop, tool results, stream      schemas.py     what comes in and goes out
access.py      who asks; whose chats           problems.py    every refusal as application/problem+json
rendered.py    answers, encoded once
"""

from ninja import NinjaAPI

from chat.api import chats, messages, queue, turns
from chat.api.access import SessionAuth, TokenAuth
from chat.api.problems import install_problem_handlers, nowhere, refuse_other_methods

api = NinjaAPI(
    title="Chatd",
    version="1",
    description="Durable LLM chats: send a message, follow the answer live, lose nothing.",
    auth=[TokenAuth(), SessionAuth()],
    urls_namespace="chatd-api",
)
install_problem_handlers(api)
for endpoints in (chats.router, messages.router, queue.router, turns.router):
    refuse_other_methods(endpoints)
    api.add_router("", endpoints)
api.add_router("", nowhere)  # the last: it matches everything

__all__ = ["api"]
