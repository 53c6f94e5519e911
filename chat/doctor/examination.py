"""The checks in their order. Each fails by itself: what raises is a problem, what hangs is cut off.

What needs something that does not answer is skipped, so that one server that is down is one problem, not twenty.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connection

from chat.doctor import beat, catalogue, chats, configuration, postgres, redis_server, schedule, schema, workers
from chat.doctor.finding import Finding, Level, NoAnswer, first_line, problem
from chat.doctor.site import DATABASE_LIMIT, Site, hang_up_after

POSTGRES, REDIS, MIGRATIONS = "Postgres", "Redis", "migrations"


@dataclass(frozen=True, slots=True)
class Check:
    """`needs`: names of earlier checks without whose answer this one makes no sense."""

    name: str
    examine: Callable[[Site], Iterable[Finding]]
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("settings", configuration.settings_are_sound),
    Check("secret key", configuration.secret_key),
    Check("limits", configuration.limits_agree),
    Check(POSTGRES, postgres.server),
    Check("durability", postgres.durability, (POSTGRES,)),
    Check("time-outs", postgres.session_limits, (POSTGRES,)),
    Check("clocks", postgres.clocks, (POSTGRES,)),
    Check(MIGRATIONS, schema.migrations, (POSTGRES,)),
    Check("triggers", schema.triggers, (POSTGRES,)),
    Check(REDIS, redis_server.server),
    Check("maintenance", beat.maintenance_worker, (REDIS,)),
    Check("beat", beat.beat, (REDIS, POSTGRES)),
    Check("beat schedule", schedule.entries, (POSTGRES,)),
    Check("chat workers", workers.chat_workers, (POSTGRES,)),
    Check("wake-ups", workers.wake_ups, (REDIS, POSTGRES)),
    Check("waiting chats", chats.waiting_chats, (POSTGRES,)),
    Check("leases", chats.leases, (POSTGRES,)),
    Check("invalid chats", chats.invalid_chats, (POSTGRES,)),
    Check("client calls", chats.client_calls, (POSTGRES,)),
    Check("models", catalogue.models, (POSTGRES,)),
)


def examine(
    site: Site, checks: Sequence[Check] = CHECKS, *, limit: float = DATABASE_LIMIT
) -> Iterator[tuple[str, Finding]]:
    """Each check's name with each of its findings, as they come. `limit`: seconds for the database, per check."""
    silent: set[str] = set()  # what does not answer
    for check in checks:
        if missing := next((name for name in check.needs if name in silent), None):
            yield check.name, Finding(Level.SKIPPED, f"not checked: {missing} does not answer.")
            continue
        try:
            with hang_up_after(limit):
                findings = list(check.examine(site))
        except NoAnswer as error:
            silent.add(check.name)
            findings = [problem(error.says, error.todo)]
        except Exception as error:  # whatever is wrong is what was asked for
            findings = [_failed(check, error)]
            if isinstance(error, DatabaseError | InterfaceError) and _is_lost():
                silent.add(POSTGRES)
        yield from ((check.name, finding) for finding in findings)


def _failed(check: Check, error: Exception) -> Finding:
    todo = "If it is not explained by a problem above, it is a bug: --traceback shows where."
    return problem(f"It could not be checked: {type(error).__name__}: {first_line(error)}", todo)


def _is_lost() -> bool:
    """Whether the connection to Postgres broke, or was cut off because it took too long."""
    raw = connection.connection
    if raw is None or raw.closed or raw.broken:
        connection.close()
        return True
    return False
