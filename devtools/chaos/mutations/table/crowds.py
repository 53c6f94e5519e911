"""Where many chats meet: limits, families, retention."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import FAMILY_RACES, INTEGRATION, RETENTION

GUARDS = (
    Mutation(
        "who takes a chat under a limit is alone", "chat/capacity.py",
        'cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, int(sub_agents)])', "pass",
        (
            f"{INTEGRATION}/test_capacity.py"
            "::test_a_limit_holds_when_somebody_comes_to_the_head_of_the_line_while_a_chat_is_being_taken",
        ),
    ),
    Mutation(
        "the last free slot is for a chat that no limit holds up", "chatworker/acquisition.py",
        "if out_of_line := chats_out_of_line(limit=SWEEP_LIMIT):", "if out_of_line := list[UUID]():",
        (f"{INTEGRATION}/test_capacity.py::test_a_full_worker_gives_its_last_slot_to_a_chat_that_stands_in_no_line",),
    ),
    Mutation(
        "who begins a chat below a family keeps it from being archived", "chat/rows/family.py",
        "SELECT archived FROM {CHAT.name} WHERE id = %s FOR SHARE", "SELECT archived FROM {CHAT.name} WHERE id = %s",
        (
            f"{FAMILY_RACES}::test_a_chat_begun_below_a_family_that_is_just_being_archived_is_refused",
            f"{FAMILY_RACES}::test_a_family_below_which_a_chat_just_begins_is_not_archived",
        ),
    ),
    Mutation(
        "two runs of one task exclude each other", "chat/task_runs.py",
        "        if not cursor.fetchone()[0]:\n            raise UnderWay(",
        "        if False:\n            raise UnderWay(",
        (f"{RETENTION}::test_two_runs_at_once_exclude_each_other",),
    ),
    Mutation(
        "whoever archives looks again under the lock whether a chat is due", "chat/bulk.py",
        "arrivals(Transition.SET_ARCHIVED_TRUE, _state(member)) and due(member)",
        "arrivals(Transition.SET_ARCHIVED_TRUE, _state(member))",
        (f"{RETENTION}::test_what_happens_to_a_nominee_before_it_is_locked_wins",),
    ),
    Mutation(
        "whoever purges looks again under the lock whether a chat is due", "chat/bulk.py",
        "_state(member) in ARCHIVED and due(member)", "_state(member) in ARCHIVED",
        (f"{RETENTION}::test_a_chat_that_somebody_touches_before_it_is_locked_is_not_purged",),
    ),
    Mutation(
        "what a statement has no time for is done in halves", "chat/retention/batches.py",
        "            if len(self.nominees) == 1 or", "            if len(self.nominees) >= 1 or",
        (
            f"{RETENTION}::test_what_a_statement_has_no_time_for_is_deleted_in_smaller_batches",
            f"{RETENTION}::test_what_a_statement_has_no_time_for_is_archived_in_smaller_batches",
        ),
    ),
)  # fmt: skip
