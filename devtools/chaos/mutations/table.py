"""The guards, each with the patch that removes it and the tests that must then be red. Pure.

A patch is text that occurs exactly once in its file, and what takes its place: one that no longer applies is an error,
so that the table grows old loudly. The tests are pytest's arguments: few, because every mutation runs its own.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    guard: str
    """What is removed, in words."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    also: tuple[tuple[str, str], ...] = ()
    """More of the same patch: old and new."""

    @property
    def patches(self) -> tuple[tuple[str, str], ...]:
        return ((self.old, self.new), *self.also)


INTEGRATION = "tests/integration"
DOOR, WORKER, STOPPING = (f"{INTEGRATION}/test_{name}.py" for name in ("door", "worker", "stopping"))
PRESENCE, EPISODES, TRIGGERS = (f"{INTEGRATION}/test_{name}.py" for name in ("presence", "episodes", "triggers"))
HINTS = f"{INTEGRATION}/test_injection_hints.py"
STALLS = f"{INTEGRATION}/test_injection_stalls.py"
FENCES = ("tests/unit/test_injection_fence.py",)
FENCE = (f"{STOPPING}::test_a_worker_that_was_thought_dead_can_neither_stream_nor_commit",)
COMMITS = (
    f"{WORKER}::test_a_commit_whose_outcome_is_unknown_is_tried_again_and_neither_lost_nor_doubled_nor_paid_twice",
)


def _fence(what: str, old: str) -> Mutation:
    return Mutation(f"the fence compares {what}", "chat/update.py", old, "", FENCES)


MUTATIONS = (
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
        "the database refuses what does not come through the door", "config/settings.py",
        '"pgtrigger.ignore": "{}"',
        '"pgtrigger.ignore": "{pgtrigger_message_versions_61b7a}"',
        (f"{TRIGGERS}::test_nobody_can_bypass_the_door_to",),
    ),
    Mutation(
        "who has a fresh lease keeps the chat", "chatworker/acquisition.py",
        "if taken_over_from is not None and rows.lease_is_fresh(chat_id, taken_over_from):", "if False:",
        (f"{WORKER}::test_a_chat_with_a_fresh_lease_is_not_taken_and_not_changed",),
    ),
    Mutation(
        "only a runnable chat is taken", "chatworker/acquisition.py",
        "if update.state not in RUNNABLE:", "if False:",
        (f"{WORKER}::test_a_chat_that_needs_nobody_is_skipped_silently",),
    ),
    Mutation(
        "an owner's lease is the only one", "chat/rows/chat.py",
        "gone AS (DELETE FROM {LEASE} WHERE chat_id = %(id)s AND runner_id <> %(runner)s),\n            taken",
        "taken",
        (f"{INTEGRATION}/test_ownership.py::test_an_owner_has_the_only_lease_and_an_unowned_chat_has_none",),
    ),
    Mutation(
        "a runner has one lease of a chat", "chat/rows/chat.py",
        "ON CONFLICT (chat_id, runner_id) DO UPDATE\n"
        "                SET worker_id = excluded.worker_id, acquired_at = now(), heartbeat_at = now())",
        ")",
        (f"{INTEGRATION}/test_ownership.py::test_an_owner_who_acquires_again_gets_a_fresh_lease",),
    ),
    Mutation(
        "the sweep finds chats that nobody took", "chatworker/acquisition.py",
        "        found += capacity.next_in_line(sub_agents=sub_agents, grace=grace, limit=limit)\n", "        pass\n",
        (f"{WORKER}::test_a_lost_wake_up_is_made_good_by_the_workers_first_sweep",),
    ),
    Mutation(
        "the sweep finds chats whose lease has expired", "chatworker/acquisition.py",
        "AND (lease.heartbeat_at IS NULL OR lease.heartbeat_at <= now() - %(ttl)s * interval '1 second')",
        "AND %(ttl)s < 0",
        (f"{WORKER}::test_a_chat_whose_lease_expired_is_found_and_taken_with_a_new_runner",),
    ),
    Mutation(
        "the worker sweeps by itself",
        "chatworker/worker.py",
        "        await self._database.run(wake_waiting_chats, grace=self._grace)\n",
        "",
        (f"{WORKER}::test_a_lost_wake_up_is_made_good_by_the_workers_first_sweep",),
    ),
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
        "a runner stops by its own clock", "chatworker/manager.py",
        "            if renewed_at <= limit:\n", "            if False:\n",
        (f"{WORKER}::test_a_runner_is_stopped_by_its_own_clock_before_its_lease_can_have_expired",),
    ),
    Mutation(
        "a heartbeat revives nothing", "chatworker/leases.py",
        "               AND lease.heartbeat_at > now() - %s * interval '1 second'\n               RETURNING",
        "               AND %s > 0\n               RETURNING",
        (f"{WORKER}::test_one_statement_renews_what_is_fresh_and_owned_and_revives_nothing",),
    ),
    Mutation(
        "heartbeats have a thread of their own", "chatworker/worker.py",
        "            running=lambda: manager.running,\n",
        "            running=lambda: asyncio.run_coroutine_threadsafe(\n"
        "                asyncio.sleep(0, manager.running), self._loop).result(),\n",
        (f"{STALLS}::test_a_worker_whose_event_loop_is_blocked_for_longer_than_a_lease_keeps_its_chats",),
    ),
    Mutation(
        "a worker that holds its lock is alive", "chat/presence.py",
        '    AND NOT {LOCK_IS_HELD.format(worker_id="lease.worker_id")}"""', '"""',
        (f"{PRESENCE}::test_a_living_worker_keeps_its_leases_however_late_its_heartbeat",),
    ),
    Mutation(
        "a worker is dead at the second look only", "chat/presence.py",
        "if now - self._suspected_at[known] >= CONFIRMED_AFTER]", "]",
        (f"{PRESENCE}::test_a_worker_that_takes_its_lock_again_between_two_looks_is_not_dead",),
    ),
    Mutation(
        "a fresh heartbeat is proof of life", "chat/presence.py",
        "lease.heartbeat_at <= now() - %(moments)s * interval '1 second'\n", "%(moments)s > 0\n",
        (f"{PRESENCE}::test_a_fresh_heartbeat_is_proof_of_life_whatever_the_lock_says",),
    ),
    Mutation(
        "a closed episode refuses late parts", "chat/episodes.py",
        "  if last[2][1] == 'closed' then return 'closed' end\n", "",
        (f"{EPISODES}::test_a_closed_episode_takes_no_part_and_may_be_closed_again",),
    ),
    Mutation(
        "parts continue what is stored", "chat/episodes.py",
        "  if seq ~= before then return tostring(seq) end\n", "",
        (f"{EPISODES}::test_a_part_that_does_not_continue_what_is_stored_is_refused_with_where_it_ends",),
    ),
    Mutation(
        "a stop closes the episode before it reads it", "chat/episodes.py",
        "    client.eval(_CLOSE, 1, episode.key, EPISODE_KEPT * 1000)\n", "",
        FENCE,
    ),
    Mutation(
        "a stop looks again under the lock", "chat/stopping.py",
        "if streamed is not None and _nobody_works(update, before):", "if streamed is not None:",
        (f"{STOPPING}::test_a_worker_that_comes_between_the_reading_and_the_lock_finishes_itself",),
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
        "a connection that Redis ended is made anew", "chat/publisher.py",
        "self._connection.can_read()", "False",
        (f"{INTEGRATION}/test_publisher.py::test_the_message_after_redis_hung_up_is_not_lost_over_tcp_either",),
    ),
    Mutation(
        "beat is ended between two ticks", "config/celery.py", "    Beat = cached", "    unused = cached",
        (f"{INTEGRATION}/test_beat.py",),
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
        "parts of an attempt that no hint announced are told", "chat/stream/feed.py",
        "        if episode > self._episode:  #", "        if False:  #",
        (f"{INTEGRATION}/test_stream.py::test_parts_of_an_attempt_that_no_hint_announced_come_live",),
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
