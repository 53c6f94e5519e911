"""Rows of the queue: add, change, remove."""

from collections.abc import Sequence

from chat.models import QueuedMessage
from chat.rows import sql
from chat.rows.tables import QUEUED, dump, insert, require_transaction

_INSERTED = [name for name in QUEUED.names if name not in ("id", "created_at")]


def insert_queued(queued: Sequence[QueuedMessage]) -> None:
    insert(QUEUED, _INSERTED, queued, ("id", "created_at"))


def update_queued(queued: Sequence[QueuedMessage]) -> None:
    """Write parts and position of stored rows."""
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(
            f"""UPDATE {QUEUED.name} SET parts = new.parts::jsonb, position = new.position
                FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS new (id, parts, position)
                WHERE {QUEUED.name}.id = new.id""",
            [[row.pk for row in queued], [dump(row.parts) for row in queued], [row.position for row in queued]],
        )


def delete_queued(ids: Sequence[int]) -> None:
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(f"DELETE FROM {QUEUED.name} WHERE id = ANY(%s)", [list(ids)])
