"""Named points at which a fault run makes a process die, fail, hang or skip what it was about to do.

    crash_point("door.commit.before")

does nothing, at the cost of one look at a global, unless the process was started with two variables:

    CHATD_CHAOS=1
    CHATD_CRASH_POINTS="door.commit.before=exit@2; chat-worker:model.first_part=sleep:30; hint.before=drop@1*"

Each rule is `[ROLE:]POINT=ACTION[:SECONDS][@N][*K]`: at every N-th hit (1 unless told) of the point in a process whose
CHATD_PROCESS begins with ROLE (any, unless told), at most K times (1 unless told, `*` alone: always). Actions: `exit`
(at once, status 137, as after SIGKILL), `raise` (`CrashPoint`), `sleep:SECONDS` (the calling thread, be it the event
loop), `drop` (the caller skips what follows; only where it is a publication), `note` (only written down).

With CHATD_CHAOS_DIR each fault that landed is a line of JSON in `faults.jsonl` there, written before it strikes, and K
counts all processes, those that a supervisor starts again included; without it, K counts each process.

Never by accident: one variable without the other, or a rule that cannot be read, refuses the start. Knows nothing of
chats. The other injections, and what uses all of them, are in `devtools/chaos/`.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

POINTS = {
    "door.locked": "the chat's row is locked, nothing is decided",
    "door.fence_refused": "work that lost its chat is about to be refused",
    "door.commit.before": "everything is written, COMMIT is not sent",
    "door.committed": "COMMIT has succeeded, nobody has been told",
    "door.commit.after": "the update is over, its publications included",
    "creation.commit.before": "as door.commit.before, for a chat that is created",
    "creation.commit.after": "as door.commit.after, for a chat that is created",
    "post.commit.before": "a request has said its message, its transaction is open",
    "post.commit.after": "a request's message is committed, the client has no answer",
    "hint.before": "a state hint is about to be published",
    "hint.after": "a state hint was published",
    "wake_up.before": "a wake-up is about to be published",
    "wake_up.after": "a wake-up was published",
    "parts.append.before": "live parts are about to go to Redis",
    "parts.append.after": "live parts are in Redis",
    "acquire.before": "a worker is about to take a chat",
    "acquire.after": "a worker has taken a chat, no runner knows",
    "model.request.before": "the model is about to be asked",
    "model.request.after": "the model has been asked and has begun to answer",
    "model.first_part": "the first part of an answer has come",
    "model.answered": "the answer is complete, in memory only",
    "answer.commit.before": "the step of a complete answer is about to be committed",
    "answer.commit.after": "the step is committed, the episode is open",
    "episode.closed": "the step is committed, its episode closed",
    "retry.recorded": "a failed call is recorded, the wait for the next one begins",
    "tools.commit.before": "the results of calls are about to be committed",
    "tools.commit.after": "the results of calls are committed",
    "interrupt.close.before": "a stop is about to close the episode",
    "interrupt.close.after": "the episode is closed, what it holds not yet read",
    "interrupt.commit.before": "what was streamed is about to be saved",
    "interrupt.commit.after": "what was streamed is saved",
    "heartbeat.before": "leases are about to be renewed",
    "heartbeat.after": "leases were renewed, the worker's own clock does not know",
    "hand_over.before": "a worker that stops is about to give a chat away",
    "hand_over.after": "a worker that stops has given a chat away",
    "sweep.before": "the sweep is about to look for chats",
    "sweep.after": "the sweep has woken workers",
    "archive.commit.before": "a batch of chats is archived, COMMIT is not sent",
    "archive.commit.after": "a batch of chats is archived for good",
    "purge.commit.before": "a batch of chats is deleted, COMMIT is not sent",
    "purge.commit.after": "a batch of chats is deleted for good",
}
"""Every point, and what is true when it is hit."""
DROPPABLE = frozenset({"hint.before", "wake_up.before"})
EXIT_STATUS = 137

_RULE = re.compile(
    r"(?:(?P<role>[\w-]+):)?(?P<point>[\w.]+)=(?P<action>exit|raise|drop|note|sleep:(?P<seconds>\d+(?:\.\d+)?))"
    r"(?:@(?P<nth>[1-9]\d*))?(?P<times>\*\d*)?"
)


class CrashPoint(Exception):
    """Raised on purpose at a crash point; nothing in the system expects it."""


@dataclass(frozen=True, slots=True)
class Rule:
    point: str
    action: str
    seconds: float
    nth: int
    times: int | None
    """How often in all; None: always."""
    role: str = ""


def rules_in(text: str, *, role: str) -> dict[str, Rule]:
    """The rules for a process of this role, by point. Raises `ValueError` with a sentence about the first bad one."""
    found: dict[str, Rule] = {}
    for words in filter(None, (part.strip() for part in text.split(";"))):
        match = _RULE.fullmatch(words)
        if match is None:
            raise ValueError(f"{words!r} is not of the form [ROLE:]POINT=ACTION[:SECONDS][@N][*K]")
        if match["point"] not in POINTS:
            raise ValueError(f"there is no crash point {match['point']!r}; chat/crash.py lists them")
        action = match["action"].partition(":")[0]
        if action == "drop" and match["point"] not in DROPPABLE:
            raise ValueError(f"{words!r}: nothing is published there that could be dropped")
        times = match["times"]
        limit = 1 if times is None else int(times[1:]) if times[1:] else None
        if role.startswith(match["role"] or ""):
            found[match["point"]] = Rule(
                match["point"], action, float(match["seconds"] or 0), int(match["nth"] or 1), limit, match["role"] or ""
            )
    return found


class Chaos:
    """The rules of one process and what became of them. Safe to share between threads."""

    def __init__(self, rules: Mapping[str, Rule], directory: Path | None = None) -> None:
        self._rules = dict(rules)
        self._directory = directory
        self._mutex = threading.Lock()
        self._hits = dict.fromkeys(rules, 0)
        self._fired = dict.fromkeys(rules, 0)

    def hit(self, point: str) -> bool:
        """Do what the rule for this point asks for now; True: the caller skips what follows."""
        rule = self._rules.get(point)
        if rule is None:
            return False
        with self._mutex:
            self._hits[point] += 1
            if self._hits[point] % rule.nth or not self._may_fire(rule):
                return False
            self._fired[point] += 1
        self.record("crash_point", point=point, action=rule.action)
        if rule.action == "exit":
            os._exit(EXIT_STATUS)
        if rule.action == "raise":
            raise CrashPoint(point)
        if rule.action == "sleep":
            time.sleep(rule.seconds)
        return rule.action == "drop"

    def record(self, fault: str, **facts: object) -> None:
        """Write down that a fault landed; a whole line, also if the process dies next."""
        if self._directory is not None:
            line = {"at": time.time(), "fault": fault, "process": _role(), "pid": os.getpid(), **facts}
            _append(self._directory / "faults.jsonl", json.dumps(line, default=str).encode() + b"\n")

    def _may_fire(self, rule: Rule) -> bool:
        if rule.times is None:
            return True
        if self._directory is None:
            return self._fired[rule.point] < rule.times
        for number in range(rule.times):
            try:
                (self._directory / f"{rule.role}:{rule.point}-{rule.action}-{number}.fired").touch(exist_ok=False)
                return True
            except FileExistsError:
                continue
        return False


def _append(path: Path, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def _role(environment: Mapping[str, str] = os.environ) -> str:
    return environment.get("CHATD_PROCESS", "")


def chaos_of(environment: Mapping[str, str]) -> Chaos | None:
    """What this environment asks for; None where it asks for nothing. Ends the process where it asks for half of it."""
    points, is_on = environment.get("CHATD_CRASH_POINTS", ""), environment.get("CHATD_CHAOS", "")
    if points and is_on != "1":
        _refuse("CHATD_CRASH_POINTS breaks this system on purpose. Unset it; a fault run also sets CHATD_CHAOS=1.")
    if not is_on or is_on == "0":
        return None
    if is_on != "1":
        _refuse(f"CHATD_CHAOS is {is_on!r}, but it takes 1 (this system may be broken on purpose) or nothing.")
    directory = environment.get("CHATD_CHAOS_DIR")
    try:
        rules = rules_in(points, role=_role(environment))
    except ValueError as error:
        _refuse(f"CHATD_CRASH_POINTS: {error}.")
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
    return Chaos(rules, Path(directory) if directory else None)


def _refuse(why: str) -> NoReturn:
    sys.exit(f"chatd: {why}")


armed = chaos_of(os.environ)
"""None in every process but those of a fault run."""


def crash_point(name: str) -> bool:
    """A point of `POINTS`. True only where a fault run wants the publication that follows dropped."""
    return armed is not None and armed.hit(name)
