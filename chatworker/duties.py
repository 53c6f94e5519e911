"""Archive and purge as beat starts them: whatever is the matter, the next run comes and no tick fails for it."""

from collections.abc import Callable

import structlog
from django.db import DatabaseError, InterfaceError

from chat.retention.archive import archive_inactive_chats
from chat.retention.purge import purge
from chat.task_runs import UnderWay

logger = structlog.get_logger(__name__)

DUTIES: dict[str, Callable[[], dict[str, int]]] = {"archive_inactive_chats": archive_inactive_chats, "purge": purge}


def perform(task: str) -> None:
    """One run; nothing where another one is under way, a line in the log where the database refuses it."""
    try:
        DUTIES[task]()
    except UnderWay:
        logger.debug("retention.under_way", task=task)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("retention.failed", task=task, error=repr(error))
