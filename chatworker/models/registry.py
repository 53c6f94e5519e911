"""From a model's specification to a client for it; clients are made once per worker and share one connection pool."""

from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from chatworker.models.catalogue import ModelSpec
from chatworker.models.client import LibraryClient
from chatworker.models.protocol import ModelClient

CONNECT_TIMEOUT = 10.0
NO_KEY = "none"
"""Sent to servers of one's own that need no key."""


class ModelRegistry:
    """Belongs to one event loop; `aclose` when it ends."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT),
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100),
            follow_redirects=True,
        )
        self._clients: dict[ModelSpec, LibraryClient] = {}

    def client(self, spec: ModelSpec) -> ModelClient:
        if spec not in self._clients:
            self._clients[spec] = LibraryClient(_model(spec, self._http), spec.full_name)
        return self._clients[spec]

    async def aclose(self) -> None:
        await self._http.aclose()


def _model(spec: ModelSpec, http: Any) -> Model:
    # Retries are the runner's, where they are counted, recorded and shown: none inside the provider's client.
    key, url = spec.api_key or NO_KEY, spec.base_url or None
    if spec.kind == "anthropic":
        client = AsyncAnthropic(api_key=key, base_url=url, max_retries=0, http_client=http)
        return AnthropicModel(spec.name, provider=AnthropicProvider(anthropic_client=client))
    if spec.kind == "google":
        return GoogleModel(spec.name, provider=GoogleProvider(api_key=key, base_url=url, http_client=http))
    openai = AsyncOpenAI(api_key=key, base_url=url, max_retries=0, http_client=http)
    whole = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)  # else a cut answer looks complete
    return OpenAIChatModel(spec.name, provider=OpenAIProvider(openai_client=openai), profile=whole)
