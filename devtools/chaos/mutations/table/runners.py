"""One chat at work: hints, commits, steps, and the end of a worker."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import (
    COMMITS,
    HINTS,
    INTEGRATION,
    INTERRUPT,
    MANAGER,
    MISSED_HINTS,
    STALLS,
    TAKEOVERS,
    WORKER,
)

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
        "        if key in self._given_back:\n", "        if True:\n",
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
    Mutation(
        "a worker that stops gives away what is its own only", "chatworker/manager.py",
        "            if (update.chat.worker_id, update.chat.runner_id) != (worker_id, runner_id):\n",
        "            if False:\n",
        (f"{TAKEOVERS}::test_a_worker_that_stops_does_not_give_away_what_another_has_taken",),
    ),
    Mutation(
        "a runner begins steps of its own chat only", "chatworker/runner.py",
        "            if (chat.worker_id, chat.runner_id) != (self.worker_id, self.runner_id):\n",
        "            if False:\n",
        (f"{TAKEOVERS}::test_a_runner_whose_commit_is_refused_begins_nothing_more_of_what_another_has_taken",),
    ),
    Mutation(
        "a runner that hears of another owner leaves", "chatworker/runner.py",
        "if not self._is_mine(hint):", "if False:",
        (f"{TAKEOVERS}::test_a_runner_that_hears_of_another_owner_leaves_long_before_its_answer_ends",),
    ),
    Mutation(
        "a late hint says nothing new", "chatworker/runner.py",
        "if hint.snapshot_version <= self._watermark:", "if False:",
        (f"{MISSED_HINTS}::test_a_late_hint_of_what_is_over_neither_ends_the_work_nor_begins_it_again",),
    ),
    Mutation(
        "what was said before a runner could hear it is read", "chatworker/manager.py",
        "        for hint in rows.values():\n            runner.offer(hint)\n", "",
        (f"{MISSED_HINTS}::test_a_stop_between_the_taking_of_a_chat_and_its_subscription_is_not_missed",),
    ),
    Mutation(
        "what was said while the connection for hints was broken is read", "chatworker/worker.py",
        "on_reconnect=self.sync_now", "on_reconnect=lambda: None",
        (f"{MISSED_HINTS}::test_a_stop_while_the_connection_for_hints_is_broken_is_heard_when_it_is_back",),
    ),
    Mutation(
        "a step that failed is begun again", "chatworker/runner.py",
        "            except Exception:\n", "            except ZeroDivisionError:\n",
        (f"{TAKEOVERS}::test_a_step_that_fails_for_a_reason_that_nobody_foresaw_is_begun_again_by_the_same_runner",),
    ),
    Mutation(
        "a step that takes too long is begun again", "chatworker/runner.py",
        "return asked + max(STEP_TIMEOUT,", "return 3600 + asked + max(STEP_TIMEOUT,",
        (f"{WORKER}::test_a_step_that_takes_too_long_is_begun_again",),
    ),
    Mutation(
        "a chat is looked at once at a time, however often it is woken", "chatworker/manager.py",
        "        if chat_id in self._taking:\n", "        if False:\n",
        (f"{MANAGER}::test_a_chat_is_looked_at_once_at_a_time_and_once_more_for_those_who_woke_us_meanwhile",),
    ),
    Mutation(
        "who is woken while it looks, looks once more", "chatworker/manager.py",
        "if step is not None or not self._taking[chat_id]:", "if True:",
        (f"{MANAGER}::test_a_chat_is_looked_at_once_at_a_time_and_once_more_for_those_who_woke_us_meanwhile",),
    ),
    Mutation(
        "a chat whose taking nobody confirmed is given back", "chatworker/manager.py",
        "            if may_be_ours:\n", "            if False:\n",
        (f"{WORKER}::test_a_chat_whose_taking_was_committed_and_nobody_was_told_goes_on_at_once",),
    ),
    Mutation(
        "a cancellation that was swallowed is heeded", "chatworker/runner.py",
        "            heed_cancellation()\n", "",
        ("tests/unit/test_runner.py::test_a_cancellation_that_was_swallowed_on_the_way_is_heeded",),
    ),
    Mutation(
        "whoever takes a chat over waits as long as its provider asked", "chatworker/work/step.py",
        "if seconds := _early(chat.retry_state):", "if seconds := 0.0:",
        (f"{WORKER}::test_whoever_takes_a_chat_over_waits_for_as_long_as_the_provider_had_asked",),
    ),
    Mutation(
        "a stop waits for a Redis that has what people saw", "chatworker/work/interrupt.py",
        "patience=PATIENCE if remembered is None else 0.0", "patience=0.0",
        (f"{INTERRUPT}::test_a_redis_that_is_away_for_a_moment_is_waited_for",),
    ),
    Mutation(
        "an id is one call", "chat/content.py",
        'calls.setdefault(part["tool_call_id"], part)', "calls[str(len(calls))] = part",
        (f"{INTERRUPT}::test_two_calls_with_one_id_do_not_keep_a_chat_from_stopping",),
    ),
    Mutation(
        "a second Ctrl-C hands over", "chatworker/bootstep.py",
        "            _signals_call(_worker.hand_over_now)\n", "            pass\n",
        (f"{INTEGRATION}/test_worker_signals.py",),
    ),
    Mutation(
        "a client that answers at the last moment is not timed out", "chatworker/deadlines.py",
        "if update.chat.requires_action_deadline_at != deadline:", "if False:",
        (f"{INTEGRATION}/test_deadlines.py::test_a_client_that_answers_between_the_reading_and_the_lock_wins",),
    ),
)  # fmt: skip
