"""Errors as the OpenAI API words them.

Raised anywhere below the app and translated to a response once, in `app`. Knows no HTTP server.
"""

from __future__ import annotations

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "service_unavailable",
    529: "overloaded_error",
}
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 529: "overloaded"}


class ApiError(Exception):
    """The request is answered with an error: `{"error": {"message", "type", "code"}}` and its status."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status)
        self.headers = headers or {}

    @property
    def type(self) -> str:
        """The error's type; without a name of its own it is the client's below 500, the server's above."""
        return TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def as_json(self) -> dict[str, object]:
        """The body of the error response, and the data of an error event in a stream."""
        return {"error": {"message": self.message, "type": self.type, "code": self.code}}
