"""The door to a chat's row: the lock, the fence, the table of transitions, what is told and when."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import COMMITS, DOOR, FENCE, FENCES, INTEGRATION, STOPPING


def _fence(what: str, old: str) -> Mutation:
    return Mutation(f"the fence compares {what}", "chat/update.py", old, "", FENCES)


GUARDS = (
    Mutation(
        "the fence is checked at all", "chat/update.py",
        "if fence is not None and not fence.holds(chat):\n            crash_point",
        "if False:\n            crash_point",
        (*FENCE, *COMMITS),
    ),
    _fence("the worker", "chat.worker_id == self.worker_id\n            and "),
    _fence("the runner", "and chat.runner_id == self.runner_id\n            "),
    _fence("the history's version", "and chat.history_version == self.history_version\n            "),
    _fence("the status", "and chat.status == self.status\n            "),
    _fence("that the chat is not archived", "and not chat.archived\n            "),
    _fence("the attempt", "and self.generation_attempt in (None, chat.generation_attempt)\n        "),
    Mutation(
        "the row is locked", "chat/rows/stored.py", " FOR UPDATE OF wanted", "",
        (f"{DOOR}::test_of_two_hundred_updates_from_eight_threads_none_is_lost",),
    ),
    Mutation(
        "who waited for the lock reads the queue again", "chat/rows/stored.py",
        "is_current = chat.snapshot_version == seen_version", "is_current = True",
        (f"{DOOR}::test_who_waited_for_the_lock_sees_what_was_written_meanwhile",),
    ),
    Mutation(
        "every update advances the snapshot", "chat/update.py",
        "            chat.snapshot_version += 1\n", "            pass\n",
        (f"{DOOR}::test_an_update_without_a_transition_changes_the_snapshot_alone",),
    ),
    Mutation(
        "the table is asked before a transition", "chat/update.py", "        if not allowed:\n", "        if False:\n",
        (f"{INTEGRATION}/test_table.py",),
    ),
    Mutation(
        "the table is asked after a transition", "chat/update.py",
        "            if self.state not in allowed:\n", "            if False:\n",
        (f"{INTEGRATION}/test_bundles.py::test_a_transition_that_leaves_the_table_is_a_bug_and_writes_nothing",),
    ),
    Mutation(
        "a publication that fails undoes nothing", "chat/update.py",
        "transaction.on_commit(announce, robust=True)", "transaction.on_commit(announce)",
        (f"{DOOR}::test_a_publication_that_fails_undoes_nothing",),
    ),
    Mutation(
        "hints go out after the commit", "chat/update.py",
        "transaction.on_commit(announce, robust=True)", "announce()",
        (f"{DOOR}::test_a_hint_goes_out_after_the_commit_and_not_before",),
    ),
    Mutation(
        "a stop looks again under the lock", "chat/stopping.py",
        "if streamed is not None and _nobody_works(update, before):", "if streamed is not None:",
        (f"{STOPPING}::test_a_worker_that_comes_between_the_reading_and_the_lock_finishes_itself",),
    ),
)  # fmt: skip
