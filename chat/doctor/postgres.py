"""Postgres: whether it answers, keeps what it was told, cuts what hangs, and knows what time it is."""

import time
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from chat.doctor.finding import Finding, NoAnswer, first_line, ok, problem, warning
from chat.doctor.site import Site

NEARLY_ALL = 0.8
"""Share of the server's connections that is a warning."""
CLOCKS_DIFFER = 1.0
"""Seconds."""

LOSES_DATA = {
    "fsync": "a crash of the machine loses messages, or the whole database",
    "full_page_writes": "a crash of the machine may ruin the database",
    "synchronous_commit": "a crash of Postgres loses the last answers that clients were told are saved",
}
SESSION_LIMITS = {
    "statement_timeout": "a statement that hangs holds its locks for ever",
    "lock_timeout": "a request that waits for a row waits for ever",
    "idle_in_transaction_session_timeout": "a worker that is stopped in mid-transaction keeps its chat locked",
    "client_connection_check_interval": "statements of processes that are gone run to their end",
}


def server(site: Site) -> Iterator[Finding]:
    try:
        connection.ensure_connection()
        began = time.perf_counter()
        _row("SELECT 1")
        lasted = time.perf_counter() - began
        version, in_recovery, read_only, most, taken = _row(
            """SELECT current_setting('server_version'), pg_is_in_recovery(),
               current_setting('default_transaction_read_only')::boolean, current_setting('max_connections')::integer,
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"""
        )
    except (DatabaseError, InterfaceError) as error:
        todo = "Start it, or correct DATABASE_URL; its log says more."
        raise NoAnswer(f"It does not answer: {first_line(error)}", todo) from None
    figures = {"version": version, "seconds": round(lasted, 4), "connections": taken, "max_connections": most}
    if in_recovery or read_only:
        what = "a standby" if in_recovery else "read-only (default_transaction_read_only)"
        yield problem(f"The server is {what}: nothing can be written.", "Point DATABASE_URL to the primary.", **figures)
    elif taken > most * NEARLY_ALL:
        todo = "Raise max_connections, or lower CHATD_WEB_CONNECTIONS or the number of processes."
        yield warning(f"{taken} of {most} connections are taken.", todo, **figures)
    else:
        says = f"{version.split()[0]} answers in {lasted * 1000:.1f} ms; {taken} of {most} connections are taken."
        yield ok(says, **figures)


def durability(site: Site) -> Iterator[Finding]:
    found = _settings(LOSES_DATA)
    lossy = [name for name, value in found.items() if value == "off"]
    for name in lossy:
        todo = f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf(); and look for it in DATABASE_URL."
        yield problem(f"{name} is off: {LOSES_DATA[name]}.", todo, setting=name)
    unlogged = [row[0] for row in _rows(_UNLOGGED)]
    if unlogged:
        todo = "; ".join(f"ALTER TABLE {name} SET LOGGED" for name in unlogged) + "."
        yield problem(f"A crash empties {', '.join(unlogged)}: unlogged tables.", todo, tables=unlogged)
    if not lossy and not unlogged:
        yield ok(", ".join(f"{name} is {value}" for name, value in found.items()) + ".")


_UNLOGGED = r"""SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u' AND relname LIKE 'chat\_%'
    AND pg_table_is_visible(oid) ORDER BY relname"""


def session_limits(site: Site) -> Iterator[Finding]:
    """As they are in force; a pooler may drop what the connection asks for."""
    found = _settings(SESSION_LIMITS)
    missing = [name for name, value in found.items() if value == "0"]
    for name in missing:
        todo = "Set it in OPTIONS of DATABASES, or with ALTER ROLE; a pooler must let startup options pass."
        yield warning(f"{name} is off: {SESSION_LIMITS[name]}.", todo, setting=name)
    if not missing:
        yield ok("Statements, locks and idle transactions end by themselves.", **found)


def clocks(site: Site) -> Iterator[Finding]:
    before = site.wall()
    (theirs,) = _row("SELECT extract(epoch FROM clock_timestamp())::float")
    after = site.wall()
    ahead = theirs - (before + after) / 2
    off = max(0.0, abs(ahead) - (after - before) / 2)
    if off > CLOCKS_DIFFER:
        way = "behind" if ahead > 0 else "ahead of"
        says = f"This machine's clock is {off:.1f} s {way} that of Postgres: times in logs and retries mislead."
        yield warning(says, "Let NTP set both clocks. Leases do not suffer: their clock is Postgres's.", seconds=ahead)
    else:
        yield ok("This machine and Postgres agree on the time.", seconds=round(ahead, 3))


def _settings(names: dict[str, str]) -> dict[str, str]:
    return dict(_rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name", [list(names)]))


def _rows(sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _row(sql: str) -> tuple[Any, ...]:
    return _rows(sql)[0]
