"""Rows of a family: a root chat and the chats of the sub-agents below it, archived and brought back as one."""

from collections.abc import Sequence
from uuid import UUID

from chat.models import Chat
from chat.rows import sql
from chat.rows.tables import CHAT, require_transaction


def lock_descendants(root_id: UUID) -> list[Chat]:
    """The other chats of the family of a root that is locked already, in the order of their ids."""
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(f"SELECT {CHAT.columns} FROM {CHAT.name} WHERE root_id = %s ORDER BY id FOR UPDATE", [root_id])
        return [CHAT.instance(row) for row in cursor.fetchall()]


def lock_root_against_archiving(root_id: UUID) -> bool | None:
    """Whether the root is archived, None if it is gone; until the transaction ends, that stays so.

    Creations do not wait for each other.
    """
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(f"SELECT archived FROM {CHAT.name} WHERE id = %s FOR SHARE", [root_id])
        row = cursor.fetchone()
    return bool(row[0]) if row else None


def save_archived(chats: Sequence[Chat]) -> None:
    """Write `archived` and `pin_order` of locked chats whose drafts differ in nothing else, in one statement."""
    require_transaction()
    with sql.cursor() as cursor:
        cursor.execute(
            f"""UPDATE {CHAT.name} SET snapshot_version = snapshot_version + 1,
                archived = new.archived, pin_order = new.pin_order
                FROM unnest(%s::uuid[], %s::boolean[], %s::integer[]) AS new (id, archived, pin_order)
                WHERE {CHAT.name}.id = new.id RETURNING {CHAT.name}.id, updated_at""",
            [[c.pk for c in chats], [c.archived for c in chats], [c.pin_order for c in chats]],
        )
        written = dict(cursor.fetchall())
    for chat in chats:
        chat.updated_at = written[chat.pk]
