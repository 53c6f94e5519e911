"""What a failed model call means: its kind, whether another try may help, what to tell a person, how long to wait.

Pure: a table of conditions, the first match wins. Judging twice gives the same.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from chatworker.models.protocol import ModelError

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 529})
BACKOFF_FROM, BACKOFF_UP_TO = 1.0, 60.0
"""Seconds before the second attempt, doubling up to the limit."""
MAX_RETRY_AFTER = 86_400.0
"""Seconds: a provider that asks for more is taken to mean a day."""
MAX_DETAIL = 500

_PROVIDERS = (
    (r"openai[-_ ]compat", "OpenAI-compatible provider"),
    (r"azure", "Azure"),
    (r"openrouter", "OpenRouter"),
    (r"bedrock", "Bedrock"),
    (r"vercel", "Vercel"),
    (r"anthropic|claude", "Anthropic"),
    (r"google|gemini|vertex", "Google"),
    (r"openai", "OpenAI"),
)
_INTERRUPTED = ("chat interrupted", "request interrupted", "operation interrupted")
_TRUNCATED = (
    "stream closed before message_stop", "stream closed before terminal event", "ended without a `finish_reason`",
)  # fmt: skip
_CONFIG = (
    "invalid model", "model not found", "model_not_found", "unsupported model", "context length exceeded",
    "context_length_exceeded", "context_exceeded", "maximum context length", "malformed config",
)  # fmt: skip
_QUOTA = ("quota", "billing", "payment required")
_AUTH = ("authentication", "unauthorized", "invalid api key", "invalid_api_key")
_RATE = ("rate limit", "rate_limit", "rate limited", "rate-limited", "too many requests")
_TRANSPORT = (
    "timeout", "timed out", "service unavailable", "unavailable", "connection reset", "connection refused",
    "broken pipe", "bad gateway", "gateway timeout", "client conn", "goaway", "http2: stream closed",
    "use of closed network connection", "connection error", "peer closed connection", "incomplete chunked read",
    "server disconnected", "connection closed", "connection attempts failed", "context deadline exceeded",
)  # fmt: skip
_EOF = re.compile(r"(?<![a-z])eof(?![a-z])")  # a word: "typeof" is none


@dataclass(frozen=True, slots=True)
class Failure:
    kind: str
    message: str
    """For a person: what happened and what they can do."""
    retryable: bool
    provider: str = ""
    status_code: int | None = None
    detail: str = ""
    retry_after: float = 0.0
    """Seconds that the provider asked us to wait; 0: it did not."""

    def last_error(self) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "kind": self.kind, "retryable": self.retryable}
        error["provider"] = self.provider or None
        error["status_code"] = self.status_code
        if self.detail:
            error["detail"] = self.detail
        return error

    def retry_state(self, attempt: int, delay: float, retrying_at: datetime) -> dict[str, Any]:
        return {
            "attempt": attempt,
            "delay_ms": round(delay * 1000),
            "error": self.message,
            "kind": self.kind,
            "provider": self.provider or None,
            "status_code": self.status_code,
            "retrying_at": retrying_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        }


def judge(error: BaseException) -> Failure:
    """What `error` means; what neither is nor wraps a `ModelError` is judged by its text."""
    error = _model_error_in(error)
    text = error.message.lower()
    status = error.status_code
    who = _provider_named(error.provider) or _provider_named(text) or "The AI provider"

    def failure(kind: str, retryable: bool, message: str) -> Failure:
        detail = error.message if error.message != message else ""
        return Failure(
            kind=kind,
            message=message,
            retryable=retryable,
            provider=error.provider,
            status_code=status,
            detail=detail if len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 1] + "…",
            retry_after=error.retry_after,
        )

    config = _any(_CONFIG, text)
    if error.kind in ("startup_timeout", "stream_silence_timeout"):
        return failure(error.kind, True, f"{who} sent nothing for too long.")
    if error.kind == "missing_key":
        return failure("missing_key", False, error.message)
    if error.kind in ("config", "provider_disabled"):
        return failure(error.kind, False, error.message)
    if _any(_INTERRUPTED, text):
        return failure("generic", False, "The request was canceled before it completed.")
    if _any(_TRUNCATED, text):
        return failure("timeout", True, "The request timed out before it completed.")
    if "previous response with id" in text and "not found" in text:
        return failure("generic", True, f"{who} no longer knows the conversation; it is sent anew.")
    if status == 529 or "overloaded" in text:
        return failure("overloaded", True, f"{who} is temporarily overloaded.")
    if "insufficient_quota" in text or (_any(_QUOTA, text) and status != 429 and not config):
        return failure("usage_limit", False, f"{who} refuses: the account's quota or billing limit is reached.")
    if status == 401 or _any(_AUTH, text) or ((status == 403 or "forbidden" in text) and not config):
        return failure(
            "auth",
            False,
            f"Authentication with {who.replace('The', 'the', 1)} failed. Check the API key and permissions.",
        )
    if (status == 429 or _any(_RATE, text)) and not config:
        return failure("rate_limit", True, f"{who} is rate limiting requests.")
    broken = _any(_TRANSPORT, text) or _EOF.search(text)
    if status in (408, 502, 503, 504) or (broken and not config and status not in (400, 404)):
        unavailable = f"{who} is temporarily unavailable."
        timed_out = "The request timed out before it completed."
        return failure("timeout", "context deadline exceeded" not in text, unavailable if status else timed_out)
    if config:
        return failure("config", False, f"{who} rejected the model configuration.")
    if status == 500 or "server error" in text:
        return failure("generic", True, f"{who} returned an unexpected error.")
    if status is not None:
        return failure("generic", status in RETRYABLE_STATUSES, f"{who} returned an unexpected error.")
    return failure("generic", False, "The chat request failed unexpectedly.")


def _model_error_in(error: BaseException) -> ModelError:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ModelError):
        inner = inner.__cause__
    return inner or ModelError(str(error) or type(error).__name__)


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)


def _provider_named(text: str) -> str:
    return next((name for pattern, name in _PROVIDERS if re.search(pattern, text.lower())), "")


def backoff(n: int) -> float:
    """Seconds to wait after the n-th failed attempt, n from 0: 1, 2, 4, … 60."""
    return min(BACKOFF_FROM * 2 ** min(n, 10), BACKOFF_UP_TO)


def retry_after_of(headers: dict[str, str], now: datetime) -> float:
    """Seconds that response headers ask to wait: `retry-after-ms`, else `retry-after` (seconds or date); else 0."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = lower.get(name, "").strip()
        try:
            if value and 0 < float(value) < float("inf"):
                return min(float(value) * unit, MAX_RETRY_AFTER)
        except ValueError:
            pass
    try:
        at = parsedate_to_datetime(lower.get("retry-after", ""))
    except ValueError:
        return 0.0
    return min(max(0.0, (at - now).total_seconds()), MAX_RETRY_AFTER) if at.tzinfo else 0.0
