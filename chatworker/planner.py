"""Beat's scheduler: the database's, which also plans the duties that take their time from the END of their last run.

An archive or purge that takes longer than its interval, on a slow database or a big backlog, would otherwise be due
again as soon as it ends, for ever. Here it is due one interval after its end, and not while it runs. What an operator
does in the admin counts as always: another interval, a pause, "run at once". A crontab names its own times and is left
alone. A database that does not answer changes nothing: the locks of the runs (`chat/task_runs.py`) hold anyway.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from chat import task_runs
from chatworker.schedule import PLANNED_FROM_THEIR_END

LOOK_AGAIN = timedelta(seconds=10)
"""While a run is under way."""


class PlannedEntry(ModelEntry):
    """A beat entry that, when due, looks at how its last run went."""

    planned_from: datetime | None = None
    """Too early: the last run ended then. None: it may go."""

    def is_due(self) -> Any:
        state = super().is_due()
        self.planned_from = None
        if not state.is_due or self.task not in PLANNED_FROM_THEIR_END or self.model.interval is None:
            return state
        every = self.schedule.run_every
        wait = _too_early(self.task.removeprefix("chatworker."), every, self._default_now())
        if wait is None:
            return state
        # Said to be due, for the others' sake: beat looks at none of them while the first in line is not.
        self.planned_from = self._default_now() + wait - every
        return state._replace(next=wait.total_seconds())

    def __next__(self) -> "PlannedEntry":
        if self.planned_from is None:
            return super().__next__()
        self.model.last_run_at = self.planned_from
        return type(self)(self.model, app=self.app)

    next = __next__

    def save(self) -> None:
        """What beat knows better than the database, and nothing else: an operator may have changed the rest just now.

        Of a paused entry nothing at all: when it goes on, it begins anew.
        """
        entries = type(self.model)._default_manager.filter(pk=self.model.pk, enabled=True)
        entries.update(last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count)


class Planner(DatabaseScheduler):
    """The database's scheduler, with entries of ours."""

    Entry = PlannedEntry

    def apply_entry(self, entry: PlannedEntry, producer: Any = None) -> None:
        if entry.planned_from is None:
            super().apply_entry(entry, producer=producer)


def _too_early(task: str, every: timedelta, now: datetime) -> timedelta | None:
    """How long to wait yet; None: the task may run."""
    try:
        if task_runs.is_under_way(task):
            return min(every, LOOK_AGAIN)
        ended = task_runs.last_end(task)
    except (DatabaseError, InterfaceError):
        return None
    if ended is None or ended + every <= now:
        return None
    return min(every, ended + every - now)
