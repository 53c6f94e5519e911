"""The one error of the embedded servers, and how a person reads it."""

from pathlib import Path

TAIL_LINES = 15


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot run. The text says what happened, the last log lines, and what to do."""

    def __init__(self, what: str, *, to_do: str, log: Path | None = None) -> None:
        parts = [what]
        if log is not None:
            parts.append(f"The last lines of {log}:\n{_tail(log)}")
        parts.append(f"What to do: {to_do}")
        super().__init__("\n".join(parts))


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError as error:
        return f"  (not readable: {error.strerror})"
    return "\n".join(f"  {line}" for line in lines) or "  (empty)"
