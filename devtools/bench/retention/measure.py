"""The whole run, in a process whose Django is set up: seed, look, archive, purge alone, purge beside live turns."""

import os
import time
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from chat.catalogue import register_model
from chat.retention.archive import archive_inactive_chats
from chat.retention.policy import cutoff_of
from chat.rows import batch
from chat.rows.clock import database_now
from chat.seeding.database import owners_of, seed, settle
from chat.seeding.wish import Wish
from devtools.bench.retention import figures, looks
from devtools.bench.retention.purging import PURGE_DAYS, Purger
from devtools.bench.retention.talking import Talkers

MESSAGES_PER_CHAT, CHATS_PER_OWNER = 10, 200
ARCHIVE_DAYS = 60
MOST_ARCHIVED = 20_000
"""Families: enough for a rate."""
ALONE_LASTS = 15.0
ROUNDS, ROUND_LASTS = 6, 5.0
"""Of live turns, without and with the purge, each for so many seconds."""
LEAST_TURNS = 10
"""Of a round."""
FASTEST = 4000
"""Chats a second that a purge may do: times are shorter where fewer are there, so that none runs dry."""
BUSY = 0.5
"""Load per processor from which the figures say more about the neighbours."""
_BEGUN = time.monotonic()


class FiguresInvalid(Exception):
    """What was measured is not what was meant to be."""


def measure(chats: int) -> dict[str, Any]:
    """The figures. Raises `FiguresInvalid`."""
    load = os.getloadavg()[0]
    if load > BUSY * (os.cpu_count() or 1):
        _say(f"this machine is busy (load {load:.1f}): nothing else should run")
    found: dict[str, Any] = {"chats": chats, "messages": chats * MESSAGES_PER_CHAT, "load_before": round(load, 2)}
    found["seed_s"] = _seed(found["chats"], found["messages"])
    cutoff = cutoff_of(ARCHIVE_DAYS, database_now())
    assert cutoff is not None
    _say("looking for candidates …")
    found["candidates"] = looks.look(cutoff)
    _say("archiving …")
    begun = time.monotonic()
    did = archive_inactive_chats(days=ARCHIVE_DAYS, limit=MOST_ARCHIVED)
    found["archive_per_s"] = round(did["chats"] / (time.monotonic() - begun))
    share = _share(batch.count_outdated(cutoff_of(PURGE_DAYS, database_now()) or cutoff)[1])
    with Purger() as purger:
        _say("purging …")
        did_alone = purger.purge(ALONE_LASTS * share)
        found["purge_per_s"] = round(did_alone["chats"] / did_alone["seconds"])
        found["purge_messages_per_s"] = round(did_alone["messages"] / did_alone["seconds"])
        found |= _live_turns(purger, ROUND_LASTS * share)
    connection.close()
    return found


def _seed(chats: int, messages: int) -> float:
    _say(f"seeding {chats:,} chats with {messages:,} messages …")
    begun = time.monotonic()
    register_model("demo:demo", default=True)
    wish = Wish(chats, messages, database_now())
    seed(wish, owners_of(wish, 1 + chats // CHATS_PER_OWNER))
    settle()
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")  # so that none is due at once
    return round(time.monotonic() - begun, 1)


def _share(due: int) -> float:
    """Of the times above, by how many chats there are to purge."""
    return min(1.0, due / FASTEST / (ALONE_LASTS + ROUNDS * ROUND_LASTS))


def _live_turns(purger: Purger, lasts: float) -> dict[str, Any]:
    author = get_user_model().objects.create_user("talker")
    quiet, purging, chats, seconds = [], [], 0.0, 0.0
    with Talkers(author) as talkers:
        time.sleep(lasts / 2)  # connections and caches
        for number in range(1, ROUNDS + 1):
            _say(f"live turns, round {number} of {ROUNDS} …")
            begun = time.monotonic()
            time.sleep(lasts)
            between = time.monotonic()
            did = purger.purge(lasts)
            quiet.append(talkers.took(begun, between))
            purging.append(talkers.took(between, time.monotonic()))
            chats, seconds = chats + did["chats"], seconds + did["seconds"]
    if talkers.errors:
        raise talkers.errors[0]
    if min(map(len, quiet + purging)) < LEAST_TURNS:
        raise FiguresInvalid("there were too few chats to purge for as long as that takes: give more --chats")
    return {"turns": figures.turns(quiet, purging), "purge_beside_turns_per_s": round(chats / seconds)}


def _say(what: str) -> None:
    print(f"{timedelta(seconds=round(time.monotonic() - _BEGUN))}  {what}", flush=True)
