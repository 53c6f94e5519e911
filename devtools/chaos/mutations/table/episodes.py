"""The live parts of an answer, and those who write and read them."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table.where import EPISODES, FENCE, INTEGRATION

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
)  # fmt: skip
