"""`./dev bench [NAME] [--json]`: measure a Chatd of its own and print a table.

  turn        how long a turn takes and how many a second, beside a Celery task and Redis pub/sub
  state       the state machine's transitions, beside the least that they could cost
  waiting     what 500 chats cost whose model thinks
  retention   archive and purge on a million chats (--chats), and what live turns notice of it
  admin       every page of the admin on a million chats (--chats), also in Chromium, where there is one

Nothing else should run on the machine meanwhile. With `--json` the last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.bench.process import MeasuringFailed
from devtools.project import PYTHON, ROOT


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", default="turn", choices=BENCHES, help="what to measure (default: turn)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--chats", type=int, default=1_000_000, help="retention, admin: how many chats (1,000,000)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="admin: keep a picture of each page there")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started ends as with Ctrl-C
    try:
        figures = BENCHES[options.name](options)
    except MeasuringFailed as error:
        sys.exit(f"dev: {error}")
    if options.json:
        print(json.dumps(figures))
    return 0


def _state(options: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench import state

    return state.run()


def _waiting(options: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench import waiting
    from devtools.stack import running_stack

    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        print("starting a Chatd of its own …", flush=True)
        settings = {"CHATD_WORKER_SLOTS": f"{waiting.SLOTS}", "CHATD_STREAM_SILENCE_TIMEOUT": f"{waiting.PATIENCE}"}
        with running_stack(Path(folder) / "data", **settings) as stack:  # type: ignore[arg-type]
            print(f"starting {waiting.CHATS} chats whose model is silent …", flush=True)
            try:
                figures = waiting.measure(stack)
            except waiting.NotWaiting as error:
                sys.exit(f"dev: {error}")
    print()
    for name, value in figures.items():
        print(f"{name:28}{value:>10}")
    return figures


def _admin(options: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench import admin

    return admin.run(options.chats, options.pictures)


def _retention(options: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench import retention

    return retention.run(options.chats)


def _turn(options: argparse.Namespace) -> dict[str, Any]:
    from devtools.bench import turn
    from devtools.stack import running_stack

    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        data_dir = Path(folder) / "data"
        print("starting a Chatd of its own …", flush=True)
        with running_stack(data_dir, DEMOMODEL_INTERVAL="0") as stack:
            count = turn.SEQUENTIAL_CHATS * turn.TURNS_PER_CHAT
            print(f"measuring {count} turns one after another, {turn.CHATS_AT_ONCE} chats at once …", flush=True)
            ours = asyncio.run(turn.measure(turn.System(stack.url, stack.token, starts_by_sending=True)))
            where = asyncio.run(turn.stages(stack))
            with _glue(data_dir, _demo_model_url(stack.log())) as url:
                print("measuring the glue: a Celery task and Redis pub/sub, nothing durable …", flush=True)
                glue = asyncio.run(turn.measure(turn.System(url, "", starts_by_sending=False)))
    print(f"\n{'':28}{'Chatd':>10}{'the glue':>10}{'ratio':>8}")
    for name, value in ours.items():
        print(f"{name:28}{value:>10}{glue[name]:>10}{value / glue[name]:>8.2f}")
    print("\nwhere the time of a turn goes (median ms)")
    for name, value in where.items():
        print(f"  {name:32}{value:>6}")
    return {**ours, "glue": glue, "stages_ms": where}


def _demo_model_url(log: str) -> str:
    """Where the stack's demo model answers, from its own line in the log."""
    return next(word for word in log.split() if word.startswith("http://") and word.endswith("/v1"))


@contextmanager
def _glue(data_dir: Path, model: str) -> Iterator[str]:
    """The yardstick's two processes, on the stack's Redis and model."""
    from config import embedded
    from devtools.ports import DEMO_MODEL_PORT, free_port

    port = free_port(DEMO_MODEL_PORT + 1)
    environment = {**os.environ, "GLUE_REDIS": embedded.addresses(data_dir).redis_url, "GLUE_MODEL": model}
    commands = [
        ["celery", "-A", "devtools.bench.glue", "--quiet", "worker", "--pool", "threads", "-n", "glue@%h"],
        [
            "uvicorn",
            "devtools.bench.glue:web",
            "--port",
            str(port),
            "--no-access-log",
            "--log-level",
            "critical",
            "--timeout-graceful-shutdown",
            "1",
        ],
    ]
    processes = [
        subprocess.Popen(
            [PYTHON, "-m", *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _wait_for(port: int, timeout: float = 30.0) -> None:
    import socket

    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


BENCHES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "turn": _turn,
    "state": _state,
    "waiting": _waiting,
    "retention": _retention,
    "admin": _admin,
}
