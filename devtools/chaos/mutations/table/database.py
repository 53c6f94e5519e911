"""What Postgres itself refuses and ends, whoever asks."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import CONSTRAINTS, FAMILY_RACES, LIMITS_OF_TIME, STALLS, TRIGGERS

_QUEUE = 'chat_queuedmessage%ROWTYPE")],\n    func=_FORGETS_AUTHOR\n    '
_DELETE = """message_delete_guard",
    operation=pgtrigger.Delete,
    when=pgtrigger.Before,
    declare=[("chat", "record")],
    func=_GUARD.format(row="OLD")"""


def _trigger(what: str, old: str, new: str, tests: tuple[str, ...]) -> Mutation:
    return Mutation(f"Postgres does not let anybody {what} past the door", "chat/models/triggers.py", old, new, tests)


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
    Mutation(
        "a statement ends", "config/settings.py", '    "statement_timeout": "10s",\n', "",
        (f"{LIMITS_OF_TIME}::test_a_statement_ends_after_ten_seconds",),
    ),
    Mutation(
        "a statement ends when its client is gone", "config/settings.py",
        '    "client_connection_check_interval": "1s",\n', "",
        (
            f"{LIMITS_OF_TIME}"
            "::test_a_statement_whose_client_is_gone_ends_within_moments_and_with_it_what_it_locked",
        ),
    ),
    Mutation(
        "nobody waits for a connection for ever", "config/settings.py", "    connect_timeout=5,\n", "",
        (f"{LIMITS_OF_TIME}::test_who_connects_to_a_postgres_that_says_nothing_gives_up_after_five_seconds",),
    ),
    _trigger(
        "queue a message", _QUEUE + '+ _GUARD.format(row="NEW")',
        _QUEUE + '+ _GUARD.format(row="NEW").replace("IF FOUND", "IF false")',
        (f"{TRIGGERS}::test_nobody_can_bypass_the_door_to[queue a message]",),
    ),
    _trigger(
        "delete messages", _DELETE, _DELETE + '.replace("IF FOUND", "IF false")',
        (f"{TRIGGERS}::test_nobody_can_bypass_the_door_to[delete messages]",),
    ),
    _trigger(
        "take a version back", "        IF NEW.snapshot_version < OLD.snapshot_version OR ",
        "        IF false AND NEW.snapshot_version < OLD.snapshot_version AND ",
        (f"{CONSTRAINTS}::test_a_trigger_refuses",),
    ),
    _trigger(
        "write the version of a retry state", "        IF NEW.retry_state_version <> (", "        IF false AND 0 <> (",
        (f"{CONSTRAINTS}::test_a_trigger_refuses",),
    ),
    _trigger(
        "write the revision of a message", "        IF NEW.revision <> (", "        IF false AND 0 <> (",
        (f"{CONSTRAINTS}::test_a_trigger_refuses",),
    ),
    _trigger(
        "begin a chat below a family that is just being archived", "WHERE id = family FOR SHARE;", "WHERE id = family;",
        (f"{FAMILY_RACES}::test_even_plain_sql_waits_for_an_archiving_before_it_puts_a_chat_below",),
    ),
)  # fmt: skip
