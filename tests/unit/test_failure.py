"""What a failed model call means: the table of conditions, first match wins."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatworker.failure import MAX_RETRY_AFTER, RETRYABLE_STATUSES, Failure, backoff, judge, retry_after_of
from chatworker.models.protocol import ModelError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def error(message: str = "", status: int | None = None, **facts: Any) -> ModelError:
    return ModelError(message, status_code=status, **facts)


TABLE = [
    # (error, kind, retryable)
    (error("Chat interrupted"), "generic", False),
    (error("the request interrupted by its caller"), "generic", False),
    (error("operation interrupted", 503), "generic", False),
    (error("anthropic stream closed before message_stop"), "timeout", True),
    (error("openai responses stream closed before terminal event"), "timeout", True),
    (error("Previous response with id 'resp_1' not found", 400), "generic", True),
    (error("x", 529), "overloaded", True),
    (error("Overloaded"), "overloaded", True),
    (error("overloaded_error", 500), "overloaded", True),
    (error("You exceeded your current quota"), "usage_limit", False),
    (error("check your billing details", 400), "usage_limit", False),
    (error("Payment Required", 402), "usage_limit", False),
    (error("quota exceeded for this minute", 429), "rate_limit", True),
    (error("insufficient_quota", 429), "usage_limit", False),
    (error("invalid model: no quota"), "config", False),
    (error("x", 401), "auth", False),
    (error("Authentication failed"), "auth", False),
    (error("Unauthorized", 400), "auth", False),
    (error("Invalid API key provided"), "auth", False),
    (error("code: invalid_api_key"), "auth", False),
    (error("x", 403), "auth", False),
    (error("Forbidden"), "auth", False),
    (error("model not found", 403), "config", False),
    (error("x", 429), "rate_limit", True),
    (error("Rate limit reached"), "rate_limit", True),
    (error("rate_limit_error"), "rate_limit", True),
    (error("you are rate-limited"), "rate_limit", True),
    (error("Too Many Requests"), "rate_limit", True),
    (error("unsupported model", 429), "config", False),
    (error("demo:quota-2 is disabled", kind="provider_disabled"), "provider_disabled", False),
    *((error("x", status), "timeout", True) for status in (408, 502, 503, 504)),
    *(
        (error(words), "timeout", True)
        for words in (
            "timeout", "Timed out", "Service Unavailable", "unavailable", "connection reset by peer",
            "Connection refused", "unexpected EOF", "UNEXPECTED_EOF_WHILE_READING", "broken pipe", "bad gateway",
            "gateway timeout", "client conn lost", "GOAWAY", "http2: stream closed",
            "use of closed network connection", "peer closed connection without sending complete message body",
        )
    ),
    (error("context deadline exceeded"), "timeout", False),
    (error("a word like typeof or whereof"), "generic", False),
    (error("invalid model"), "config", False),
    (error("model_not_found", 404), "config", False),
    (error("context length exceeded", 400), "config", False),
    (error("context_length_exceeded", 400), "config", False),
    (error("context_exceeded"), "config", False),
    (error("this model's maximum context length is 8192 tokens", 400), "config", False),
    (error("malformed config"), "config", False),
    (error("x", 500), "generic", True),
    (error("Internal Server Error"), "generic", True),
    (error("context canceled"), "generic", False),
    (error("no idea"), "generic", False),
    (error(""), "generic", False),
    (error("x", 400), "generic", False),
    (error("x", 404), "generic", False),
    (error("Nothing came.", kind="startup_timeout"), "startup_timeout", True),
    (error("Nothing came.", kind="stream_silence_timeout"), "stream_silence_timeout", True),
    (error("The provider demo has no API key: set one.", kind="missing_key"), "missing_key", False),
    (error("The catalogue has no model 'a:timeout'", kind="config"), "config", False),
    (ValueError("a bug"), "generic", False),
    (TimeoutError(), "timeout", True),
]  # fmt: skip


@pytest.mark.parametrize(("failed", "kind", "retryable"), TABLE, ids=lambda value: repr(value)[:60])
def test_the_first_condition_that_matches_decides(failed: BaseException, kind: str, retryable: bool) -> None:
    failure = judge(failed)
    assert (failure.kind, failure.retryable) == (kind, retryable)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504, 529])
def test_a_status_alone_says_whether_another_try_may_help(status: int) -> None:
    assert judge(error("x", status)).retryable is (status in {408, 429, 500, 502, 503, 504, 529})
    assert (status in RETRYABLE_STATUSES) is judge(error("x", status)).retryable


@given(st.text(), st.one_of(st.none(), st.integers(100, 599)))
def test_judging_is_total_and_twice_gives_the_same(message: str, status: int | None) -> None:
    failed = error(message, status)
    assert judge(failed) == judge(failed)
    assert judge(failed).message
    assert len(judge(failed).detail) <= 500


def test_wrapping_keeps_the_judgement() -> None:
    inner = error("x", 429, provider="openai", retry_after=3.0)
    try:
        try:
            raise inner
        except ModelError as caught:
            raise RuntimeError("the step failed") from caught
    except RuntimeError as outer:
        assert judge(outer) == judge(inner)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai-compat", "OpenAI-compatible provider"),
        ("azure", "Azure"),
        ("openrouter", "OpenRouter"),
        ("bedrock", "Bedrock"),
        ("vercel", "Vercel"),
        ("anthropic", "Anthropic"),
        ("claude", "Anthropic"),
        ("google", "Google"),
        ("gemini", "Google"),
        ("vertex", "Google"),
        ("openai", "OpenAI"),
        ("demo", "The AI provider"),
    ],
)
def test_messages_name_the_provider(provider: str, name: str) -> None:
    assert judge(error("x", 429, provider=provider)).message == f"{name} is rate limiting requests."
    assert judge(error(f"{provider}: slow down", 429)).message == f"{name} is rate limiting requests."


def test_the_provider_that_was_called_counts_more_than_one_that_the_text_mentions() -> None:
    assert judge(error("azure says no", 429, provider="anthropic")).message == "Anthropic is rate limiting requests."


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        (error("x", 529, provider="openai"), "OpenAI is temporarily overloaded."),
        (error("x", 503, provider="openai"), "OpenAI is temporarily unavailable."),
        (error("timed out", provider="openai"), "The request timed out before it completed."),
        (
            error("x", 401, provider="openai"),
            "Authentication with OpenAI failed. Check the API key and permissions.",
        ),
        (error("x", 500, provider="openai"), "OpenAI returned an unexpected error."),
        (error("x", 500), "The AI provider returned an unexpected error."),
        (error("chat interrupted"), "The request was canceled before it completed."),
        (error("no idea", provider="openai"), "The chat request failed unexpectedly."),
    ],
)
def test_a_person_reads_what_happened(failed: ModelError, message: str) -> None:
    assert judge(failed).message == message


def test_a_rejected_configuration_says_so() -> None:
    message = judge(error("invalid model", provider="openai")).message
    assert message.startswith("OpenAI rejected the model configuration")


def test_the_detail_is_what_the_provider_said_cut_at_500_characters() -> None:
    assert judge(error("y" * 500, 500)).detail == "y" * 500
    assert judge(error("y" * 501, 500)).detail == "y" * 499 + "…"


def test_what_is_kept_as_last_error_and_as_retry_state() -> None:
    failure = judge(error("slow down", 429, provider="openai"))
    assert failure.last_error() == {
        "message": "OpenAI is rate limiting requests.",
        "detail": "slow down",
        "kind": "rate_limit",
        "provider": "openai",
        "retryable": True,
        "status_code": 429,
    }
    assert failure.retry_state(2, 1.5, NOW.astimezone(timezone(timedelta(hours=2)))) == {
        "attempt": 2,
        "delay_ms": 1500,
        "error": "OpenAI is rate limiting requests.",
        "kind": "rate_limit",
        "provider": "openai",
        "status_code": 429,
        "retrying_at": "2026-01-02T03:04:05Z",
    }
    assert "detail" not in Failure("generic", "m", retryable=False).last_error()


# --- how long to wait ------------------------------------------------------------------------------------------------


def test_the_wait_doubles_from_one_second_up_to_a_minute() -> None:
    assert [backoff(n) for n in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff(10_000) == 60


def in_seconds(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": in_seconds(30)}, 30),
        ({"retry-after": in_seconds(-30)}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "1e300"}, MAX_RETRY_AFTER),
        ({"retry-after": in_seconds(86_400 * 365)}, MAX_RETRY_AFTER),
    ],
)
def test_what_the_provider_asks_us_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_of(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_no_header_raises(value: str) -> None:
    assert 0 <= retry_after_of({"retry-after": value, "retry-after-ms": value}, NOW) <= MAX_RETRY_AFTER
