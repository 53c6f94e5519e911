"""Blows, and the moves of one chat under them, for the tests of the fault suite's figures."""

from devtools.chaos.audit import Move
from devtools.chaos.blows import Blow, Effect
from devtools.chaos.measures import Passage
from devtools.chaos.oracle import Evidence, Terms

CHAT = "chat"
STARTS = {"w1": 0.0, "w2": 0.0}
KILL = Blow("kill a chat worker", 10.0, 10.0, 20, Effect.KILLED, ("w1",), 1)
FROZEN = Blow("stop a chat worker", 10.0, 18.0, 20, Effect.FROZEN, ("w1",), 1)
TOLD = Blow("tell a chat worker to end", 10.0, 10.0, 20, Effect.TOLD, ("w1",), 1)
AWAY = Blow("crash Postgres", 10.0, 12.0, 20, Effect.AWAY)
LEASE_TTL = 6.0
TERMS = Terms(LEASE_TTL)
NOTHING = Evidence([], [], [], [], [])


def move(at: float, worker: str | None, attempt: int = 1, status: str = "running", history: int = 1) -> Move:
    return Move(at, "chat-worker", CHAT, 1, history, status, attempt, worker, worker and f"runner-of-{worker}")


PASSAGE = Passage(CHAT, KILL, 2.0)
