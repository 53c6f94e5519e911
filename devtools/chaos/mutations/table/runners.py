"""One chat at work: hints, commits, steps, and the end of a worker."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import COMMITS, HINTS, STALLS, WORKER

GUARDS = (
    Mutation(
        "a sync repairs lost hints", "chatworker/manager.py",
        "            if hint := hints.get(chat_id):\n                runner.offer(hint)\n",
        "            if hints.get(chat_id):\n                pass\n",
        (f"{HINTS}::test_a_stop_of_which_no_hint_tells_is_heard_with_the_next_sync_long_before_the_answer_ends",),
    ),
    Mutation(
        "a commit of unknown outcome is tried again", "chatworker/work/commit.py",
        "except DATABASE_AWAY as error:", "except ZeroDivisionError as error:", COMMITS,
    ),
    Mutation(
        "a hint waits while a commit is under way", "chatworker/runner.py",
        "while not self._commits_done.is_set():", "while False:",
        (f"{HINTS}::test_a_hint_of_a_commit_that_has_not_returned_yet_begins_nothing",),
    ),
    Mutation(
        "and still while the next one is under way", "chatworker/runner.py",
        "while not self._commits_done.is_set():", "if not self._commits_done.is_set():",
        (f"{HINTS}::test_a_hint_that_waited_behind_a_commit_of_unknown_outcome_does_not_begin_the_next_step_a_second_time",),
    ),
    Mutation(
        "a step that hung is begun again", "chat/outage.py",
        "(OperationalError, InterfaceError, InternalError)", "(OperationalError, InterfaceError)",
        (f"{STALLS}::test_an_answer_whose_commit_hung_for_too_long_is_committed_again_and_not_paid_twice",),
    ),
    Mutation(
        "a worker that stops hands its chats over", "chatworker/manager.py",
        "                for chat_id, runner_id in left:\n", "                for chat_id, runner_id in ():\n",
        (f"{WORKER}::test_a_worker_that_stops_hands_its_chats_over_and_another_goes_on",),
    ),
    Mutation(
        "a chat that is being taken when the worker stops counts as running", "chatworker/manager.py",
        "            await self._drain(drain_timeout)\n", "            self._drained.set()\n",
        (f"{WORKER}::test_a_chat_that_is_being_taken_when_the_worker_is_told_to_stop_counts_as_running",),
    ),
    Mutation(
        "a worker that was told to stop passes wake-ups on", "chatworker/bootstep.py",
        "        hints.publish_wake_up(chat_id)\n", "",
        (f"{WORKER}::test_a_wake_up_that_reaches_a_worker_that_was_told_to_stop_goes_to_another",),
    ),
    Mutation(
        "a draining worker begins no further call", "chatworker/work/step.py",
        "        elif hand_over:\n", "        elif False:\n",
        (f"{WORKER}::test_a_draining_worker_begins_no_call_that_it_might_have_to_cut",),
    ),
    Mutation(
        "a model that says nothing is cut off", "chatworker/work/generate.py",
        "asyncio.timeout(silence) as deadline", "asyncio.timeout(3600 + silence) as deadline",
        (f"{WORKER}::test_a_silent_model_is_cut_off_and_tried_again_up_to_the_limit",),
    ),
    Mutation(
        "a model that stops speaking is cut off", "chatworker/work/generate.py",
        "deadline.reschedule(asyncio.get_running_loop().time() + silence)", "deadline.reschedule(None)",
        (f"{WORKER}::test_a_silent_model_is_cut_off_and_tried_again_up_to_the_limit",),
    ),
    Mutation(
        "attempts are bounded", "chatworker/work/generate.py",
        " or step.attempt >= settings.CHATD_MAX_GENERATION_RETRIES", "",
        (f"{WORKER}::test_a_silent_model_is_cut_off_and_tried_again_up_to_the_limit",),
    ),
)  # fmt: skip
