"""Log events, not sentences: one line an event, with fields; JSON where nobody watches, columns on a terminal.

`CHATD_LOG=columns` says that a terminal is at the other end of the pipe; `./dev up` sets it.
"""

import logging
import logging.config
import sys
from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def logging_config(*, debug: bool, columns: bool) -> None:
    """Route structlog and the standard library through one handler on stderr; `columns`: as on a terminal."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
        if debug or columns or sys.stderr.isatty()
        else structlog.processors.JSONRenderer(default=str)
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "events": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": list(_SHARED),
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
            "root": {"handlers": ["stderr"], "level": "INFO"},
            "loggers": {
                "chat": {"level": "DEBUG" if debug else "INFO"},
                "chatworker": {"level": "DEBUG" if debug else "INFO"},
                "django.request": {"level": "ERROR"},
                "httpx": {"level": "WARNING"},
                "httpx2": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
                "django_celery_beat": {"level": "WARNING"},
            },
        }
    )
