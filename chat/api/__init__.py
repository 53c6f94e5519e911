"""The HTTP API under `/api/v1`: thin endpoints over the transitions.

access.py     who is asking, and which chats are theirs      schemas.py   what comes in and goes out
problems.py   every refusal as application/problem+json      chats.py, messages.py   the endpoints
"""

from ninja import NinjaAPI

from chat.api import chats, messages
from chat.api.access import SessionAuth, TokenAuth
from chat.api.problems import install_problem_handlers, nowhere

api = NinjaAPI(
    title="Chatd",
    version="1",
    description="Durable LLM chats: send a message, follow the answer live, lose nothing.",
    auth=[TokenAuth(), SessionAuth()],
    urls_namespace="chatd-api",
)
install_problem_handlers(api)
api.add_router("", chats.router)
api.add_router("", messages.router)
api.add_router("", nowhere)  # the last: it matches everything

__all__ = ["api"]
