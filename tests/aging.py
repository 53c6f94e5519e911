"""Chats of some age, for tests of what is due when, past the triggers that keep `updated_at`."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from chat.models import Chat, triggers


def last_changed(chats: Iterable[UUID], at: datetime) -> None:
    """Nothing has happened in these chats since `at`."""
    names = ",".join(trigger.get_pgid(Chat) for trigger in (triggers.chat_versions, triggers.touch_updated_at))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [f"{{{names}}}"])
        Chat.objects.filter(pk__in=list(chats)).update(updated_at=at, created_at=at)
        cursor.execute("SELECT set_config('pgtrigger.ignore', '{}', true)")
