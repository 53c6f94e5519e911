"""The life of each chat: when it began, how much was said, what became of it. Pure, and the same for the same seed.

Most chats are short and days old, some are long; half of what is older than two months is archived; one in fourteen
roots has sub-agents. A few that are under way end the list, unless all are to be at rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from chat.execution import State
from chat.seeding.wish import Wish

_LENGTHS = [0.2, 0.2, 0.4, 0.4, 0.4, 0.6, 0.6, 0.8, 1.0, 1.0, 1.4, 1.8, 4.2]
"""Of histories, in means; their mean is 1."""
_SUB_AGENTS, _PINNED, _LABELLED, _FAILED, _FAILED_WITH_QUEUE = 0.07, 0.02, 0.25, 0.03, 0.003
_ARCHIVED_AFTER, _ARCHIVED = timedelta(days=60), 0.5
_UNDER_WAY = 0.0005
_LABELS = ["work", "home", "idea", "urgent", "later", "draft"]
_MEAN_AGE = 0.3
"""In spans of all days: there are more young chats than old ones."""


@dataclass(slots=True)
class Life:
    id: UUID
    root: "Life | None"
    owner: int
    """Which of the owners, from 0."""
    state: State
    began_at: datetime
    said_at: datetime
    """The last message."""
    updated_at: datetime
    messages: int
    pin_order: int
    labels: list[str]


def lives(wish: Wish, owners: int) -> Iterator[Life]:
    """Roots before their sub-agents. The numbers of chats and of messages are those of the wish."""
    rng = Random(f"lives {wish.seed}")
    lengths = _lengths(wish, rng)
    under_way = 0 if wish.at_rest else min(max(5, round(wish.chats * _UNDER_WAY)), wish.chats // 10)
    made = 0
    while made < wish.chats:
        if wish.chats - made <= under_way:
            yield _under_way(wish, rng, owners, next(lengths), made)
            made += 1
            continue
        root = _root(wish, rng, owners, next(lengths))
        yield root
        made += 1
        if rng.random() < _SUB_AGENTS:
            for _ in range(min(rng.randint(1, 3), wish.chats - under_way - made)):
                yield _sub_agent(root, rng, next(lengths))
                made += 1


def _lengths(wish: Wish, rng: Random) -> Iterator[int]:
    left = wish.messages
    for chats_left in range(wish.chats, 0, -1):
        length = max(1, min(round(left / chats_left * rng.choice(_LENGTHS)), left - (chats_left - 1)))
        length = left if chats_left == 1 else length
        left -= length
        yield length


def _id(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


def _owner(rng: Random, owners: int) -> int:
    """Few have many chats, many have few."""
    return int(owners * rng.random() ** 3)


def _root(wish: Wish, rng: Random, owners: int, length: int) -> Life:
    span = timedelta(days=wish.days)
    began_at = wish.until - span * min(rng.expovariate(1 / _MEAN_AGE), 1.0) - timedelta(seconds=86400 * rng.random())
    said_at = min(began_at + _talk_lasts(length, rng), wish.until)
    state, updated_at = _at_rest(rng), said_at
    if wish.until - said_at > _ARCHIVED_AFTER and rng.random() < _ARCHIVED:
        state = {State.W: State.XW, State.E0: State.XE0, State.E1: State.XE1}[state]
        updated_at = said_at + _ARCHIVED_AFTER + (wish.until - said_at - _ARCHIVED_AFTER) * rng.random() ** 2
    is_archived = updated_at is not said_at
    pin_order = rng.randint(1, 9) if not is_archived and rng.random() < _PINNED else 0
    labels = rng.sample(_LABELS, rng.randint(1, 2)) if rng.random() < _LABELLED else []
    owner = _owner(rng, owners)
    return Life(_id(rng), None, owner, state, began_at, said_at, updated_at, length, pin_order, labels)


def _sub_agent(root: Life, rng: Random, length: int) -> Life:
    """Begun by its root, and archived with it."""
    began_at = root.began_at + (root.said_at - root.began_at) * rng.random()
    said_at = min(began_at + _talk_lasts(length, rng), root.said_at)
    is_archived = root.state in (State.XW, State.XE0, State.XE1)
    updated_at = root.updated_at if is_archived else said_at
    state = State.XW if is_archived else State.W
    return Life(_id(rng), root, root.owner, state, began_at, said_at, updated_at, length, 0, [])


def _under_way(wish: Wish, rng: Random, owners: int, length: int, number: int) -> Life:
    state = (State.R0, State.R0, State.R1, State.R0, State.A0)[number % 5]
    state = State.R0 if length < 2 else state  # a call comes after a question
    said_at = wish.until - timedelta(seconds=10 * rng.random())
    began_at = said_at - _talk_lasts(length, rng)
    return Life(_id(rng), None, _owner(rng, owners), state, began_at, said_at, said_at, length, 0, [])


def _at_rest(rng: Random) -> State:
    dice = rng.random()
    return State.E1 if dice < _FAILED_WITH_QUEUE else State.E0 if dice < _FAILED else State.W


def _talk_lasts(length: int, rng: Random) -> timedelta:
    return timedelta(seconds=length * rng.uniform(10, 240))
