"""Tables as the door's SQL sees them: column lists, rows to instances, and what demands a transaction."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection, models

from chat.models import Chat, ChatMessage, QueuedMessage, RunnerLease
from chat.rows import sql


class TransactionRequired(Exception):
    """This function changes rows that belong together and must run inside a transaction."""


def require_transaction() -> None:
    if not connection.in_atomic_block:
        raise TransactionRequired(TransactionRequired.__doc__)


class Table:
    """Column lists of a model and the way from a raw row to an instance."""

    def __init__(self, model: type[models.Model]) -> None:
        fields = model._meta.concrete_fields
        self.model = model
        self.name = model._meta.db_table
        self.names = [field.attname for field in fields]
        self.columns = ", ".join(str(field.column) for field in fields)
        self._json = [i for i, field in enumerate(fields) if isinstance(field, models.JSONField)]
        self.json_names = {fields[i].attname for i in self._json}

    def instance(self, row: Sequence[Any]) -> Any:
        values = list(row)
        for i in self._json:
            if values[i] is not None:
                values[i] = json.loads(values[i])
        return self.model.from_db("default", self.names, values)

    def parameter(self, name: str, value: Any) -> Any:
        return dump(value) if name in self.json_names and value is not None else value

    def inserted(self, row: models.Model, names: Sequence[str], values: Iterable[Any]) -> None:
        """`row` is stored now, and the database filled in `values`."""
        for name, value in zip(names, values, strict=True):
            setattr(row, name, value)
        row._state.adding, row._state.db = False, "default"


CHAT, MESSAGE, QUEUED = Table(Chat), Table(ChatMessage), Table(QueuedMessage)
LEASE = RunnerLease._meta.db_table


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def insert(table: Table, names: Sequence[str], rows: Sequence[Any], returned: Sequence[str]) -> None:
    """Insert `rows` in one statement; each gets what the database filled in."""
    require_transaction()
    one = f"({', '.join(['%s'] * len(names))})"
    with sql.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([one] * len(rows))}"
            f" RETURNING {', '.join(returned)}",
            [table.parameter(name, getattr(row, name)) for row in rows for name in names],
        )
        for row, values in zip(rows, cursor.fetchall(), strict=True):
            table.inserted(row, returned, values)
