"""The faults of the suite: what each does, what must hold, and how often it is struck. Pure.

The invariants of the oracle hold for all of them; `holds` says what is to be expected besides. A profile names the
settings that a fault needs; faults of one profile share a stack.
"""

import enum
from dataclasses import dataclass, field


class Size(enum.StrEnum):
    SHORT = "short"
    DEFAULT = "default"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings of a stack; a lease lasts four heartbeats, as it does by default."""

    name: str
    lease_ttl: float = 20.0
    drain: float = 15.0
    injected: bool = False
    """Whether its processes carry clocks, hints, commits and a network that can be spoilt (`injection/`)."""
    lingers: bool = False
    """Whether chat workers hesitate before some of their commits, so that a blow can fall just there (`notes.py`)."""

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CHATD_LEASE_TTL": f"{self.lease_ttl:g}",
            "CHATD_HEARTBEAT_INTERVAL": f"{self.lease_ttl / 4:g}",
            "CHATD_DRAIN_TIMEOUT": f"{self.drain:g}",
        }


USUAL = Profile("usual")
NO_DRAIN = Profile("no drain", drain=0.0)
SHORT_LEASE = Profile("short lease", lease_ttl=6.0, lingers=True)
INJECTED = Profile("injected", lease_ttl=6.0, injected=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that half and 99 % of the passages may take; what the project aims at on a quiet machine."""

    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """`runs`: in a short, default and full run. `apart`: seconds from when the system is whole to the next blow.

    `lasts`: seconds of a blow that lasts. `at_end`: the share of blows that wait for the end of an answer.
    `takes_over`: its blows must make workers take over chats; `writes_late`: and those who lost them write too late.
    `begins_again`: whether answers may be begun again. `whole_previews`: whether everybody sees all of an answer before
    it is saved. `loses_previews`: it may empty Redis and kill who would write it again. `commits_in_doubt`: a chat
    worker may not know whether its commit happened, and begin an answer again by itself. `needs_compiler`: it is left
    out where there is no C compiler.
    """

    name: str
    does: str
    holds: str
    runs: tuple[int, int, int]
    blow: str = ""
    profile: Profile = USUAL
    apart: tuple[float, float] = (0.5, 2.5)
    lasts: tuple[float, float] = (0.0, 0.0)
    lasts_in_full: tuple[float, float] = (0.0, 0.0)
    at_end: float = 0.3
    takes_over: bool = False
    writes_late: bool = False
    begins_again: bool = True
    whole_previews: bool = False
    loses_previews: bool = False
    commits_in_doubt: bool = False
    needs_compiler: bool = False
    limits: Limits = field(default_factory=Limits)
    drawn_from: tuple[str, ...] = ()

    def runs_in(self, size: Size) -> int:
        return self.runs[list(Size).index(size)]


_TAKEOVER = Limits(3.0, 6.0)
_ROOM_FOR_ANSWERS = (1.0, 7.0)
"""Between blows that make others begin again: an answer that takes five seconds must have a chance. After 25 attempts
it is given up, as it should be.
"""

FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "kill-worker",
            "kill -9 of one of two chat workers",
            "others go on within seconds, long before the lease expires",
            (3, 8, 200), "kill a chat worker", apart=_ROOM_FOR_ANSWERS, takes_over=True, whole_previews=True,
            limits=_TAKEOVER,
        ),
        Fault(
            "kill-all-workers",
            "kill -9 of all chat workers at once",
            "their successors go on",
            (1, 2, 20), "kill all chat workers", apart=_ROOM_FOR_ANSWERS, takes_over=True,
            whole_previews=True,
        ),
        Fault(
            "sigterm-drain",
            "SIGTERM to a chat worker that may drain for 15 s",
            "answers that end within the drain time are never begun again",
            (1, 2, 50), "tell a chat worker to end", begins_again=False, whole_previews=True,
        ),
        Fault(
            "sigterm-now",
            "SIGTERM to a chat worker with CHATD_DRAIN_TIMEOUT=0",
            "others go on within a second of the signal",
            (1, 4, 50), "tell a chat worker to end", profile=NO_DRAIN, apart=_ROOM_FOR_ANSWERS,
            whole_previews=True, limits=Limits(p99=1.0),
        ),
        Fault(
            "sigstop",
            "SIGSTOP of a chat worker for longer than its leases last, then SIGCONT",
            "others finish its answers; what it writes late is refused",
            (1, 2, 20), "stop a chat worker", profile=SHORT_LEASE, apart=_ROOM_FOR_ANSWERS,
            lasts=(7.0, 10.0), lasts_in_full=(7.0, 14.0), at_end=0.9, takes_over=True, writes_late=True,
        ),
        Fault(
            "blocked-loop",
            "the event loop of a chat worker does nothing for longer than its leases last",
            "its heartbeats go on, nobody takes its chats, and it finishes them itself",
            (0, 1, 10), "block the loop of a chat worker", profile=SHORT_LEASE, lasts=(7.0, 9.0),
            lasts_in_full=(10.0, 60.0), begins_again=False, whole_previews=True,
        ),
        Fault(
            "blocked-interpreter",
            "no thread of a chat worker runs for longer than its leases last",
            "others finish its answers; what it writes late is refused",
            (0, 1, 10), "block the interpreter of a chat worker", profile=SHORT_LEASE, apart=_ROOM_FOR_ANSWERS,
            lasts=(7.0, 10.0), lasts_in_full=(7.0, 60.0), at_end=0.9, takes_over=True, writes_late=True,
        ),
        Fault(
            "flushall",
            "Redis forgets everything",
            "nobody notices; no answer is begun again",
            (2, 3, 20), "empty Redis", begins_again=False, whole_previews=True,
        ),
        Fault(
            "redis-restart",
            "kill -9 of Redis, which comes back empty",
            "answers go on without Redis and are seen again when it is back; none is begun again",
            (1, 2, 20), "kill Redis", begins_again=False,
        ),
        Fault(
            "redis-clients",
            "Redis closes every connection and answers nobody for 1.5 s",
            "answers go on without Redis and are seen again when it is back; none is begun again",
            (0, 1, 20), "cut off everybody from Redis", begins_again=False,
        ),
        Fault(
            "postgres-immediate",
            "Postgres stops as in a crash and starts again",
            "answers that were under way are saved once; none is begun again",
            (1, 2, 10), "crash Postgres", begins_again=False, commits_in_doubt=True,
        ),
        Fault(
            "postgres-fast",
            "Postgres ends every transaction, stops in good order and starts again",
            "answers that were under way are saved once; none is begun again",
            (0, 1, 10), "restart Postgres", begins_again=False, commits_in_doubt=True,
        ),
        Fault(
            "kill-helpers",
            "kill -9 of beat and of the maintenance worker at once",
            "nobody notices; no answer is begun again",
            (0, 1, 20), "kill beat and the maintenance worker", begins_again=False, whole_previews=True,
        ),
        Fault(
            "beat-stopped",
            "beat is stopped; meanwhile a chat worker is killed and Redis forgets all wake-ups",
            "chat workers find what nobody works on by themselves",
            (0, 1, 1), "stop beat", lasts=(20.0, 20.0), lasts_in_full=(120.0, 120.0), takes_over=True,
            loses_previews=True,
        ),
        Fault(
            "maintenance-stopped",
            "the maintenance worker is stopped; meanwhile a chat worker is killed and Redis forgets all wake-ups",
            "chat workers find what nobody works on by themselves",
            (0, 1, 1), "stop the maintenance worker", lasts=(20.0, 20.0), lasts_in_full=(120.0, 120.0),
            takes_over=True, loses_previews=True,
        ),
        Fault(
            "kill-web",
            "kill -9 of the web process while it takes messages and streams",
            "what was acknowledged is there, clients come back by cursor; no answer is begun again",
            (1, 3, 50), "kill the web process", begins_again=False,
        ),
        Fault(
            "clock-shift",
            "the clock of a chat worker is 5 s, 10 minutes or a day wrong, in either direction",
            "nobody notices",
            (0, 1, 24), "shift the clock of a chat worker", profile=INJECTED, lasts=(7.0, 9.0),
            lasts_in_full=(7.0, 9.0), begins_again=False, whole_previews=True, needs_compiler=True,
        ),
        Fault(
            "clock-shift-kill",
            "the same, and the other chat worker is killed meanwhile",
            "the one with the wrong clock goes on within seconds",
            (1, 1, 12), "shift the clock of a chat worker and kill the other", profile=INJECTED,
            lasts=(6.0, 8.0), lasts_in_full=(6.0, 8.0), takes_over=True, whole_previews=True, needs_compiler=True,
        ),
        Fault(
            "hints-lost",
            "no hint and no wake-up arrives",
            "the sweep and the looks of readers find everything, only later",
            (1, 1, 10), "lose hints", profile=INJECTED, lasts=(7.0, 9.0), lasts_in_full=(7.0, 20.0),
            begins_again=False,
        ),
        Fault(
            "hints-shuffled",
            "30 % of hints and wake-ups come twice, all of them up to half a second late, and so in another order",
            "nothing happens twice",
            (0, 1, 10), "double, delay and shuffle hints", profile=INJECTED, lasts=(7.0, 9.0),
            lasts_in_full=(7.0, 20.0), begins_again=False,
        ),
        Fault(
            "commits-in-doubt",
            "of three COMMITs in ten nobody is told the outcome, or its backend is terminated in the middle of it",
            "each is resolved, none doubled",
            (1, 1, 20), "leave commits in doubt", profile=INJECTED, lasts=(7.0, 9.0), lasts_in_full=(7.0, 12.0),
            commits_in_doubt=True,
        ),
        Fault(
            "network-postgres",
            "a proxy between a chat worker and Postgres delays, swallows, refuses or cuts",
            "the chat worker finishes its answers, or others do",
            (0, 1, 16), "spoil the way to Postgres", profile=INJECTED, lasts=(7.0, 10.0),
            lasts_in_full=(7.0, 14.0), commits_in_doubt=True,
        ),
        Fault(
            "network-redis",
            "the same between a chat worker and Redis",
            "answers go on; none is begun again",
            (0, 1, 16), "spoil the way to Redis", profile=INJECTED, lasts=(7.0, 10.0), lasts_in_full=(7.0, 14.0),
            begins_again=False,
        ),
        Fault(
            "mixed",
            "three of the others at once",
            "the invariants",
            (1, 1, 20), profile=SHORT_LEASE, apart=(5.0, 40.0), lasts=(8.0, 11.0), lasts_in_full=(8.0, 20.0),
            loses_previews=True, commits_in_doubt=True,
            drawn_from=(
                "kill a chat worker", "kill all chat workers", "tell a chat worker to end", "stop a chat worker",
                "empty Redis", "kill Redis", "crash Postgres", "kill the web process", "stop beat and no more",
                "stop the maintenance worker and no more",
            ),
        ),
    )
}  # fmt: skip
