"""`python -m demomodel`: the demo model as a process.

Prints its URL when it accepts connections (`--port 0` picks a free port). Exits within a second of SIGTERM or
SIGINT and cuts the answers that are being sent; a port in use ends it with one line and status 3.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
import sys

import uvicorn

import demomodel
from demomodel.app import DEFAULT_INTERVAL, DemoModel

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


class DemoServer(uvicorn.Server):
    """A uvicorn server that says where it listens, and cuts open answers before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: DemoModel) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        sys.stdout.write(f"demo model at http://{f'[{host}]' if ':' in host else host}:{port}/v1\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.stop()
        await super().shutdown(sockets=sockets)


def not_a_cut(record: logging.LogRecord) -> bool:
    """Whether a log record is worth a line: an answer that is cut on purpose is not."""
    return record.getMessage() != "ASGI callable returned without completing response."


def seconds(text: str) -> float:
    """A pause in seconds, from 0 to 3600."""
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError
    return value


def port(text: str) -> int:
    """A TCP port, 0 for any free one."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError
    return value


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; a wrong value ends the process with one clear line."""
    parser = argparse.ArgumentParser(
        prog="python -m demomodel",
        description=demomodel.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=port, default=8901, help="port to listen on, 0 for a free one (8901)")
    parser.add_argument(
        "--interval",
        type=seconds,
        default=os.environ.get("DEMOMODEL_INTERVAL", str(DEFAULT_INTERVAL)),
        help="seconds between chunks where no directive says otherwise (DEMOMODEL_INTERVAL, %(default)s)",
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="warning", help="(%(default)s)")
    return parser.parse_args(argv)


def main() -> None:
    """Serve until told to stop."""
    options = arguments()
    level = getattr(logging, options.log_level.upper())
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").addFilter(not_a_cut)
    app = DemoModel(interval=options.interval)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=level <= logging.INFO,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    with contextlib.suppress(KeyboardInterrupt):
        DemoServer(config, app).run()


if __name__ == "__main__":
    main()
