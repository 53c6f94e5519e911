"""Who owns a chat: leases, heartbeats, the sweep, and how a dead worker is found."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import CONSTRAINTS, INTEGRATION, MANAGER, PRESENCE, STALLS, TAKEOVERS, WORKER

GUARDS = (
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
        "a runner stops by its own clock", "chatworker/leases.py",
        " if good_at <= limit]", " if good_at <= limit - 3600]",
        (f"{MANAGER}::test_a_runner_is_stopped_by_its_own_clock_before_its_lease_can_have_expired",),
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
        "a runner has one lease of a chat, says Postgres", "chat/migrations/0001_initial.py",
        "constraint=models.UniqueConstraint(fields=('chat', 'runner_id'), name='runner_has_one_lease_of_a_chat'),",
        "constraint=models.CheckConstraint(condition=models.Q(pk__gt=0), name='runner_has_one_lease_of_a_chat'),",
        (f"{CONSTRAINTS}::test_a_constraint_refuses_also_through_the_door",),
    ),
    Mutation(
        "the sweep looks for dead workers", "chatworker/acquisition.py", "    dead_workers.take_leases()\n", "",
        (f"{PRESENCE}::test_the_sweep_wakes_the_chats_of_a_dead_worker_long_before_its_leases_are_over",),
    ),
    Mutation(
        "whoever deletes the leases of a dead worker looks again", "chat/presence.py",
        "lease.worker_id = ANY(%(workers)s) AND {_DEAD}", "lease.worker_id = ANY(%(workers)s) AND %(moments)s > 0",
        (f"{PRESENCE}::test_a_worker_that_takes_its_lock_again_between_the_last_look_and_the_deletion_keeps_its_leases",),
    ),
    Mutation(
        "a worker whose connection broke takes its lock again", "chat/presence.py",
        "self._held_on is connection.connection and not is_broken():", "self._held_on is connection.connection:",
        (f"{PRESENCE}::test_a_heartbeat_whose_connection_broke_takes_its_lock_and_beats_again",),
    ),
    Mutation(
        "a runner whose lease is gone ends", "chatworker/manager.py",
        "                self.request_cleanup(*key)\n\n    def stop_expired", "\n    def stop_expired",
        (f"{TAKEOVERS}::test_a_runner_whose_lease_is_gone_ends_with_the_next_heartbeat",),
    ),
)  # fmt: skip
