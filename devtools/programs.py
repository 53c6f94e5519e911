"""What `./dev up` runs: one Program for each process, with its arguments and how it shows that it is ready.

Pure. Knows the command lines and nothing of how they are kept running.
"""

from dataclasses import dataclass

HOST = "127.0.0.1"
ALONE = ("--without-gossip", "--without-mingle")  # our workers have nothing to tell each other; a second less to start
WORKER_SAYS = "ready."  # Celery's own line, "chats-1@host ready.", in whatever format the log has


@dataclass(frozen=True)
class Program:
    """`python -m ARGUMENTS` under the name `role`."""

    role: str
    arguments: tuple[str, ...]
    says_when_ready: str | None = None
    answers_when_ready: str | None = None  # a URL that gives 200
    port: int | None = None  # that it listens on
    needed_until_the_end: bool = False  # ends only after the others: they may need it to finish their work


def programs(*, port: int, workers: int, demo_model_port: int | None) -> list[Program]:
    """All processes; no demo model where its port is None (CHATD_DEMO_MODEL_URL names one that runs
    elsewhere).
    """
    found = [
        Program(
            "web",
            (
                *("uvicorn", "config.asgi:application", "--host", HOST, "--port", str(port)),
                *("--no-access-log", "--timeout-graceful-shutdown", "5", "--log-level", "warning"),
            ),
            answers_when_ready=f"{url(port)}/healthz",
            port=port,
        )
    ]
    found += [_worker(f"chat-worker-{n}", f"chats-{n}", "chats") for n in range(1, workers + 1)]
    found.append(_worker("maintenance", "maintenance", "maintenance", "--concurrency", "4"))
    found.append(Program("beat", ("celery", "-A", "config", "--quiet", "beat", "--pidfile=")))
    if demo_model_port is not None:
        found.append(
            Program(
                "demo-model",
                ("demomodel", "--port", str(demo_model_port)),
                answers_when_ready=f"{demo_model_url(demo_model_port)}/models",
                port=demo_model_port,
                needed_until_the_end=True,
            )
        )
    return found


def _worker(role: str, name: str, queue: str, *more: str) -> Program:
    options = ("-n", f"{name}@%h", "-Q", queue, "--pool", "threads", "--loglevel", "INFO", *ALONE, *more)
    return Program(role, ("celery", "-A", "config", "--quiet", "worker", *options), says_when_ready=WORKER_SAYS)


def url(port: int) -> str:
    return f"http://{HOST}:{port}"


def demo_model_url(port: int) -> str:
    return f"{url(port)}/v1"
