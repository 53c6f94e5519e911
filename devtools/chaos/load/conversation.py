"""One person: starts a chat, says things, follows the answers, sometimes speaks while the other one speaks.

Notes every message before it is sent and what became of it. Stops saying things when `open` is cleared, and then waits
until the chat is quiet, for as long as `patience` lasts.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from devtools.bench.client import Connection, HttpError
from devtools.chaos.load.follower import Follower
from devtools.chaos.load.journal import Journal, Outcome, Request
from devtools.chaos.load.screen import Screen
from devtools.chaos.load.wording import Wording, key_of

ANSWER_WITHIN = 20.0
"""Seconds for the answer to a POST; a real client would not wait longer."""
TRY_AGAIN_AFTER = 0.3
TURNS = 3
"""Messages sent to a quiet chat before the person starts another one."""
BUSY_SHARE, INTERRUPT_SHARE = 0.25, 0.08
"""How many turns get another message while they run, and how many are interrupted by one."""
WORDS = (30, 50)
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where the system is, and how fast its model speaks."""

    url: str
    token: str
    pause: float = 0.1


@dataclass(slots=True)
class Seen:
    """What one person saw of one chat until they left; `quiet`: they left because nothing went on any more."""

    chat_id: str
    screen: Screen
    connections: int = 0
    quiet: bool = False


class Endings:
    """Tells whoever waits for it that an answer has been seen whole and is about to be saved."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[str]] = set()

    @property
    def wanted(self) -> bool:
        return bool(self._waiting)

    def tell(self, chat_id: str) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(chat_id)

    async def next(self) -> str:
        """The chat of the next one."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            return await future
        finally:
            self._waiting.discard(future)


class Conversation:
    def __init__(
        self, service: Service, journal: Journal, endings: Endings, name: str, seed: str, *, patience: float
    ) -> None:
        self._service, self._journal, self._endings = service, journal, endings
        self._name, self._patience = name, patience
        self._random = random.Random(seed)
        self._count = 0
        self.open = asyncio.Event()
        self.open.set()
        self.seen: list[Seen] = []
        self.follower: Follower | None = None
        self._acknowledged: set[str] = set()  # messages to the chat that is followed
        self._out_of_turn = 0  # messages under way that `say_now` sent
        self._in_turn = asyncio.Event()
        self._in_turn.set()

    @property
    def is_streaming(self) -> bool:
        return self.follower is not None and self.follower.screen.is_streaming

    async def run(self) -> None:
        """One chat after the other until `open` is cleared."""
        while self.open.is_set():
            request = await self._say("create", None)
            if request.outcome is Outcome.OK and request.chat_id is not None:
                self._acknowledged = {request.wording.message}
                await self._follow(request.chat_id)
            else:
                await asyncio.sleep(TRY_AGAIN_AFTER)

    async def say_now(self) -> None:
        """A message out of turn, to the chat that is followed, whatever it does."""
        if self.follower is None:
            return
        self._out_of_turn += 1
        self._in_turn.clear()
        try:
            await self._say("queue", self.follower.chat_id)
        finally:
            self._out_of_turn -= 1
            if not self._out_of_turn:
                self._in_turn.set()

    async def _follow(self, chat_id: str) -> None:
        seen = Seen(chat_id, Screen())
        self.seen.append(seen)
        async with Follower(self._service.url, self._service.token, chat_id, self._look_for_the_end) as follower:
            self.follower, seen.screen = follower, follower.screen
            try:
                seen.quiet = await self._turns(follower)
            finally:
                seen.connections = follower.connections
                self.follower = None

    async def _turns(self, follower: Follower) -> bool:
        """Whether the chat was quiet in the end."""
        for turn in range(TURNS):
            if turn and not await self._say_until_told(follower.chat_id):
                break
            await self._maybe_speak_meanwhile(follower)
            if not await follower.until(self._is_quiet, within=self._patience):
                return False
        while True:
            await self._in_turn.wait()
            if not await follower.until(self._is_quiet, within=self._patience):
                return False
            if self._in_turn.is_set():
                return True

    async def _say_until_told(self, chat_id: str) -> bool:
        """Say something new until it is not unsent; False if the person is to stop before that."""
        while self.open.is_set():
            request = await self._say("queue", chat_id)
            if request.outcome is not Outcome.UNSENT:
                return True
            await asyncio.sleep(TRY_AGAIN_AFTER)
        return False

    async def _maybe_speak_meanwhile(self, follower: Follower) -> None:
        draw = self._random.random()
        if draw >= BUSY_SHARE + INTERRUPT_SHARE:
            return
        how = "queue" if draw < BUSY_SHARE else "interrupt"
        words = self._random.randint(2, 10)
        begun = await follower.until(lambda screen: screen.live.count(" ") >= words, within=self._patience / 4)
        if begun and self.open.is_set():
            await self._say(how, follower.chat_id)

    def _is_quiet(self, screen: Screen) -> bool:
        """Nothing goes on, and everything that was acknowledged in this chat can be seen."""
        return screen.is_idle and self._acknowledged <= {message.text for message in screen.messages.values()}

    def _look_for_the_end(self, screen: Screen) -> None:
        if screen.is_streaming and self._endings.wanted and self.follower is not None:
            request = self._journal.requests.get(key_of(screen.live))
            if request is not None and len(screen.live) == len(request.wording.answer):
                self._endings.tell(self.follower.chat_id)

    # --- asking --------------------------------------------------------------------------------------------------

    async def _say(self, how: str, chat_id: str | None) -> Request:
        self._count += 1
        wording = Wording(f"{self._name}-{self._count}", self._random.randint(*WORDS), self._service.pause)
        request = self._journal.ask(wording, how, chat_id)
        if chat_id is None:
            body: Any = {"message": {"text": wording.message}}
            outcome, status, answer = await self._post("/api/v1/chats", body)
            chat_id = answer["id"] if outcome is Outcome.OK else None
        else:
            body = {"text": wording.message, "busy_behavior": how}
            outcome, status, answer = await self._post(f"/api/v1/chats/{chat_id}/messages", body)
        self._journal.tell(request, outcome, status, chat_id)
        if outcome is Outcome.OK and self.follower is not None and self.follower.chat_id == chat_id:
            self._acknowledged.add(wording.message)
        return request

    async def _post(self, path: str, body: Any) -> tuple[Outcome, int, Any]:
        connection = Connection(self._service.url, self._service.token)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return Outcome.OK, 200, await connection.request("POST", path, body)
        except HttpError as error:
            # A server that has trouble with its database cannot know whether the commit happened.
            return Outcome.UNKNOWN if error.status >= 500 else Outcome.REFUSED, error.status, None
        except ConnectionRefusedError:
            return Outcome.UNSENT, 0, None
        except (OSError, EOFError, ValueError, TimeoutError):
            return Outcome.UNKNOWN, 0, None
        finally:
            await connection.close()
