"""Clients of a system that breaks: they talk over HTTP, note what they were told, and the books must balance.

Each text is said once and carries its own answer. "ok" must be there exactly once, "unknown" once or not at all.
"""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from devtools.bench.client import Connection, HttpError
from tests.acceptance.reader import text

LOST = (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError)
ANSWER_WITHIN = 20.0
LOOK_EVERY = 0.1
KINDS = ("[say answer {n}]", "[call weather {{}}] [then] [say answer {n}]", "[fail 529 times 1] [say answer {n}]",
         "[long 60] [interval 0.05]")  # fmt: skip
INTERRUPTED = 3
"""The kind that its client stops in the middle."""


@dataclass
class Books:
    ok: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    chats: set[str] = field(default_factory=set)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))


class Talker:
    """`run()` starts one chat after the other, each of one message, until `over` is set."""

    def __init__(self, url: str, token: str, books: Books) -> None:
        self._url, self._token, self._books, self._numbers = url, token, books, books.numbers
        self.over = asyncio.Event()

    async def run(self) -> None:
        while not self.over.is_set():
            number = next(self._numbers)
            kind = number % len(KINDS)
            said = f"question {number} {KINDS[kind].format(n=number)}"
            chat = await self._say("/api/v1/chats", {"message": {"text": said}}, said)
            if chat is None:
                continue
            self._books.chats.add(chat["id"])
            path = f"/api/v1/chats/{chat['id']}"
            if kind == INTERRUPTED:
                await asyncio.sleep(0.5)
                await self._ask("POST", f"{path}/interrupt")
            more = f"question {next(self._numbers)} [say more]"
            await self._say(f"{path}/messages", {"text": more}, more)
            await self.rest(chat["id"])

    async def rest(self, chat_id: str) -> dict[str, Any]:
        """The chat, once it has nothing to do; for ever."""
        while True:
            chat: dict[str, Any] | None = await self._ask("GET", f"/api/v1/chats/{chat_id}")
            if chat is not None and chat["status"] in ("waiting", "error"):
                return chat
            await asyncio.sleep(LOOK_EVERY)

    async def messages(self, chat_id: str) -> list[dict[str, Any]]:
        while True:
            answer = await self._ask("GET", f"/api/v1/chats/{chat_id}/messages")
            if answer is not None:
                assert answer["queue"] == []
                return list(answer["items"])

    async def _say(self, path: str, body: Any, said: str) -> Any:
        try:
            answer = await self._request("POST", path, body)
        except HttpError as error:
            if error.status >= 500:
                self._books.unknown.append(said)
            return None
        except LOST:
            self._books.unknown.append(said)
            await asyncio.sleep(LOOK_EVERY)
            return None
        self._books.ok.append(said)
        return answer

    async def _ask(self, method: str, path: str) -> Any:
        """None if it did not work out; an interrupt that came too late is refused, and that is fine."""
        try:
            return await self._request(method, path)
        except (HttpError, *LOST):
            await asyncio.sleep(LOOK_EVERY)
            return None

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        connection = Connection(self._url, self._token)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await connection.request(method, path, body)
        finally:
            await connection.close()


def balance(books: Books, histories: list[list[dict[str, Any]]]) -> int:
    """Every message once, each followed by its whole answer or, if it was interrupted, by a part of it; how many."""
    seen: Counter[str] = Counter()
    for history in histories:
        turns: list[list[dict[str, Any]]] = []
        for message in history:
            if message["role"] == "user":
                turns.append([])
            turns[-1].append(message)
        for question, *rest in turns:
            said = text(question)
            seen[said] += 1
            roles = [message["role"] for message in rest]
            answers = [text(message) for message in rest if message["role"] == "assistant"]
            number = int(said.split()[1])
            if said.endswith("[say more]"):
                assert (roles, answers) == (["assistant"], ["more"]), (said, rest)
            elif number % len(KINDS) == INTERRUPTED:
                whole = " ".join(f"word{n}" for n in range(1, 61))
                assert roles in ([], ["assistant"]), (said, rest)
                assert all(answer and whole.startswith(answer) for answer in answers), (said, rest)
            elif "[then]" in said:
                assert roles == ["assistant", "tool", "assistant"], (said, rest)
                assert answers[-1] == f"answer {number}"
            else:
                assert (roles, answers) == (["assistant"], [f"answer {number}"]), (said, rest)
    assert {said: seen[said] for said in books.ok if seen[said] != 1} == {}, "acknowledged, not there exactly once"
    assert {said: count for said, count in seen.items() if count > 1} == {}, "doubled"
    assert set(seen) <= {*books.ok, *books.unknown}, "nobody said that"
    return seen.total()
