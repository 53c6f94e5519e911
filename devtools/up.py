"""`./dev up`: prepares database and first user, then runs everything in the foreground.

Invariant: one supervisor for each data directory (`state.SupervisorLock`); nothing is started or changed
before it is certain that we are it and that the port is free.
On failure: what failed, its output, exit code 1; what was started until then is stopped.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from config import embedded
from devtools import detach, orphans, ports, project, restart_policy
from devtools.console import Console, standard
from devtools.leftovers import end_leftovers
from devtools.programs import demo_model_url, programs, url
from devtools.state import Process, State, SupervisorLock
from devtools.supervisor import GRACE, Supervisor

FAILED = 1
INTERRUPTED = 130


class StepFailed(Exception):
    """A preparation failed; the text is for the person at the terminal."""


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    data_dir = project.data_dir()
    lock = SupervisorLock(data_dir)
    if not lock.take():
        state = State.load(data_dir)
        where = f" (pid {state.supervisor.pid}, {state.url})" if state else ""
        print(f"dev: already running{where}; `./dev status` shows it, `./dev down` stops it", file=sys.stderr)
        return FAILED
    if options.detach:
        lock.release()
        passed_on = ["--port", str(options.port), "--workers", str(options.workers)]
        return detach.main(data_dir, [*passed_on, "--restart-within", str(options.restart_within)])
    console = standard()
    _let_signals_interrupt()
    try:
        with ports.demo_model_port() as demo_model_port:
            return _run(options, data_dir, console, demo_model_port)
    except (StepFailed, embedded.EmbeddedServerError) as error:
        console.say(str(error))
        return FAILED
    except KeyboardInterrupt:
        console.say("stopped")
        return INTERRUPTED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # what is left is the clean-up, which is short
        State.forget(data_dir)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev up",
        description="Start everything and follow its log. Ctrl-C stops it all, a second one kills at once. "
        "Nothing needs setting up: Postgres, Redis and a demo model are included.",
        epilog="Environment: see .env.example. Exit code 1 if something cannot start.",
    )
    parser.add_argument("--port", type=int, default=8000, help="of the web server, on 127.0.0.1 (8000)")
    parser.add_argument("--workers", type=int, default=1, help="chat worker processes (1)")
    parser.add_argument("--detach", action="store_true", help="return when ready")
    parser.add_argument(
        "--restart-within", type=float, default=restart_policy.LONGEST_DELAY, metavar="SECONDS",
        help="longest pause before a process that died again and again is started anew (%(default)g); "
        "for fault tests, which kill on purpose",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if not 0 < options.port < 65536:
        parser.error(f"--port {options.port}: a number from 1 to 65535")
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: at least 1")
    return options


def _run(options: argparse.Namespace, data_dir: Path, console: Console, demo_model_port: int) -> int:
    end_leftovers(data_dir, console, project.drain_lasts() + GRACE)
    address = url(options.port)
    if not ports.is_free(options.port):
        raise StepFailed(
            f"Port {options.port} is in use by another program. Stop that, or choose another port: "
            f"./dev up --port {ports.free_port(options.port + 1)}"
        )
    state = State(Process.of("supervisor", os.getpid()), address)
    state.save(data_dir)
    environment = _child_environment()
    has_demo_model = not environment.get("CHATD_DEMO_MODEL_URL")
    if has_demo_model:
        environment["CHATD_DEMO_MODEL_URL"] = demo_model_url(demo_model_port)

    orphans.adopt()
    servers = project.embedded_wanted()
    if any(servers):
        names = " and ".join(name for name, wanted in zip(("Postgres", "Redis"), servers, strict=True) if wanted)
        console.say(f"starting {names} in {data_dir}")
        embedded.ensure_running(data_dir, postgres=servers[0], redis=servers[1])
    _manage(console, environment, "bringing the database up to date", "migrate", "--noinput")
    if project.collects_static():
        _manage(console, environment, "collecting static files", "collectstatic", "--noinput")
    console.say(_manage(console, environment, "preparing first user and models", "bootstrap", "--url", address))

    console.say("starting the processes")
    supervisor = Supervisor(
        programs(
            port=options.port,
            workers=options.workers,
            demo_model_port=demo_model_port if has_demo_model else None,
        ),
        environment,
        state=state,
        data_dir=data_dir,
        console=console,
        drain_lasts=project.drain_lasts(),
        servers=servers,
        all_ready=lambda: console.say(_welcome(address, data_dir)),
        longest_delay=options.restart_within,
    )
    return asyncio.run(supervisor.run())


def _child_environment() -> dict[str, str]:
    """Ours, and what makes the common log readable."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        environment.setdefault("CHATD_LOG", "columns")
    if os.geteuid() == 0:  # Celery's advice against root is good for servers, and seven lines long
        quiet = "ignore:You're running the worker with superuser privileges"
        environment["PYTHONWARNINGS"] = ",".join(filter(None, [environment.get("PYTHONWARNINGS"), quiet]))
    return environment


def _manage(console: Console, environment: Mapping[str, str], what: str, *command: str) -> str:
    """Run a management command, quiet unless it fails; returns its output."""
    console.say(what)
    began = time.monotonic()
    finished = subprocess.run(
        [project.PYTHON, "manage.py", *command],
        cwd=project.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise StepFailed(f"manage.py {command[0]} failed (exit code {finished.returncode}):\n{finished.stdout}")
    if (took := time.monotonic() - began) > 5:
        console.say(f"  took {took:.0f} s")
    return finished.stdout


def _welcome(address: str, data_dir: Path) -> str:
    return (
        f"ready: {address}\n"
        f"  admin         {address}/admin/\n"
        f"  API           {address}/api/v1/docs\n"
        f"  credentials   {data_dir / 'credentials.json'}\n"
        f'  try           .venv/bin/python manage.py chat "Hello"'
    )


def _let_signals_interrupt() -> None:
    """Until the supervisor takes over, SIGTERM and SIGHUP end us as Ctrl-C does: with all clean-up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)
