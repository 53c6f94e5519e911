"""The live parts of an answer, and those who write and read them."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import EPISODES, FENCE, INTEGRATION, STOPPING

GUARDS = (
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
        "parts of an attempt that no hint announced are told", "chat/stream/feed.py",
        "        if episode > self._episode:  #", "        if False:  #",
        (f"{INTEGRATION}/test_stream.py::test_parts_of_an_attempt_that_no_hint_announced_come_live",),
    ),
    Mutation(
        "a worker that stops a chat closes the episode", "chatworker/work/interrupt.py",
        "            await resources.episodes.close(step.episode)\n", "",
        (f"{STOPPING}::test_what_a_worker_that_was_thought_dead_streams_while_another_one_stops_its_chat_is_refused",),
    ),
    Mutation(
        "who writes into a closed episode stops", "chat/episode_writer.py",
        "            self._closed = True  # somebody took over", "            self._sent = until  # somebody took over",
        (f"{EPISODES}::test_parts_after_somebody_else_closed_the_episode_are_refused_and_were_never_streamed",),
    ),
    Mutation(
        "what Redis forgot is written again", "chat/episode_writer.py",
        "        except EpisodeNotFound:\n            self._sent = 0\n",
        "        except EpisodeNotFound:\n            self._sent = until\n",
        (f"{EPISODES}::test_when_redis_forgets_everything_the_writer_writes_it_again_from_1",),
    ),
    Mutation(
        "a part whose acknowledgement was lost is not written twice", "chat/episode_writer.py",
        "self._sent = min(elsewhere.ends_with, until)", "self._sent = until",
        (f"{EPISODES}::test_a_lost_command_or_reply_makes_no_part_double_and_none_missing",),
    ),
)  # fmt: skip
