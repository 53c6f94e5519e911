"""What Postgres itself refuses and ends, whoever asks."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import STALLS, TRIGGERS

GUARDS = (
    Mutation(
        "the database refuses what does not come through the door", "config/settings.py",
        '"pgtrigger.ignore": "{}"',
        '"pgtrigger.ignore": "{pgtrigger_message_versions_61b7a}"',
        (f"{TRIGGERS}::test_nobody_can_bypass_the_door_to",),
    ),
    Mutation(
        "who hangs in a transaction loses it", "config/settings.py",
        '    "idle_in_transaction_session_timeout": "5s",\n', "",
        (f"{STALLS}::test_a_row_lock_that_is_held_by_somebody_who_hangs_is_freed_after_five_seconds",),
    ),
    Mutation(
        "nobody waits for a lock for ever", "config/settings.py", '    "lock_timeout": "2s",\n', "",
        (f"{STALLS}::test_a_row_lock_that_is_held_by_somebody_who_hangs_is_freed_after_five_seconds",),
    ),
)  # fmt: skip
