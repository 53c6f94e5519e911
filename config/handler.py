"""Django's request handler, whole in one thread.

Django's own ASGI handler moves a request between the event loop and a new thread once for every middleware and again
for the view. Ours hands the request to one of a few threads, where middleware and view run as they do under WSGI; the
number of threads bounds the database connections. Answers are sent whole: live streams never come here
(`chat/stream/app.py`), and static files are small.
"""

from typing import Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.urls import set_script_prefix

from chat.database import DatabaseThreads


class ThreadedHandler(ASGIHandler):
    """ASGI, for `http` scopes. Its threads end with the process."""

    def __init__(self, *, threads: int) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = DatabaseThreads(threads, name="web")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"there are no {scope['type']} connections here")
        await self.handle(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:  # the client left while it was still speaking
            return
        try:
            await self.send_response(await self._threads.run(self._respond, scope, body), send)
        finally:
            body.close()

    def _respond(self, scope: Any, body: Any) -> Any:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refused = self.create_request(scope, body)
        response: Any = refused if request is None else self.get_response(request)
        if response.streaming:
            whole = HttpResponse(b"".join(response), status=response.status_code, headers=response.headers)
            whole.cookies = response.cookies
            response.close()
            response = whole
        response._handler_class = self.__class__
        response.close()
        return response
