"""Live turns: a few chats, each with a turn ten times a second, by the door: a message, then its answer and the end.

Two transactions, with hints and log, as person and runner cause them. Not as fast as it goes: what is of interest is
how long a turn takes beside something else, on a machine that has some room. Forty a second are as many as a machine of
two cores runs together with web, streams and models.
"""

import threading
import time
from uuid import UUID, uuid4

from django.db import connections

from chat import transitions
from chat.transitions import NewMessage
from chat.update import Fence, chat_update

TALKERS = 4
TURN_EVERY = 0.1
"""Seconds, for each talker."""
SAID = [{"type": "text", "text": "And what else is there to know about that?"}]
ANSWER = NewMessage("assistant", [{"type": "text", "text": "Not much: it is a row beside the chat, and no more."}])


class Talkers:
    """Threads that talk until the block ends; `turns`: (begun, seconds) of each, by the monotonic clock."""

    def __init__(self, author: object) -> None:
        self._author = author
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._talk, name=f"talker-{i}") for i in range(TALKERS)]
        self.turns: list[tuple[float, float]] = []
        self.errors: list[BaseException] = []

    def __enter__(self) -> "Talkers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def took(self, begun: float, ended: float) -> list[float]:
        """Seconds of the turns that began in between."""
        return [taken for at, taken in list(self.turns) if begun <= at < ended]

    def _talk(self) -> None:
        try:
            chat_id, fence = self._begin()
            next_at = time.monotonic()
            while not self._over.wait(max(0.0, next_at - time.monotonic())):
                begun = time.monotonic()
                fence = self._turn(chat_id, fence)
                self.turns.append((begun, time.monotonic() - begun))
                next_at = max(next_at + TURN_EVERY, time.monotonic())
        except BaseException as error:
            self.errors.append(error)
        finally:
            connections.close_all()

    def _begin(self) -> tuple[UUID, Fence]:
        """A chat that this talker owns, its first turn ended."""
        worker_id, runner_id = uuid4(), uuid4()
        chat_id = transitions.create_chat(owner=self._author, parts=SAID).pk
        with chat_update(chat_id) as update:
            transitions.acquire(update, worker_id=worker_id, runner_id=runner_id)
        fence = Fence(worker_id, runner_id, update.chat.history_version, update.chat.status)
        return chat_id, self._answer(chat_id, fence)

    def _turn(self, chat_id: UUID, fence: Fence) -> Fence:
        with chat_update(chat_id) as update:
            transitions.send_message(update, parts=SAID, author=self._author)
        chat = update.chat
        return self._answer(chat_id, Fence(fence.worker_id, fence.runner_id, chat.history_version, chat.status))

    def _answer(self, chat_id: UUID, fence: Fence) -> Fence:
        with chat_update(chat_id, fence=fence) as update:
            transitions.commit_step(update, [ANSWER])
            transitions.finish_turn(update)
        return fence
