"""Two at once: whatever meets on a chat or on a family, the end is as if one had waited for the other.

Most pairs of operations are drawn from a seed (`tests/racing/`), taken by two threads at the same moment, and compared
with what the reference says of both orders: rows, versions, refusals, hints. `--racing-pairs` draws more of them,
`--racing-seed` others. The meetings that matter most have a test of their own, in each order.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from chat import transitions
from chat.execution import State
from chat.models import Chat
from chat.snapshot import ChatSnapshot
from chat.transitions import NewMessage
from chat.update import Fence, chat_read, chat_update
from tests.factories import RUNNER, SAID, WORKER, chat_in, chat_row, history_of, queue_of
from tests.racing.drawing import KINDS, QUEUE_LIMIT, Pair, draw
from tests.racing.field import lay, read
from tests.racing.judging import ORDERS, Finish, finish_of
from tests.racing.operations import Place, Prediction, foretell
from tests.racing.threads import Racers, one_then_the_other, told_of
from tests.threads import LIMIT, Threads

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = [{"type": "text", "text": "new"}]
TEST_OF, AT_A_TIME = 1000, 250
"""Pairs per test, and pairs whose chats are written and read together."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "numbers" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("racing_pairs")
        blocks = [range(first, min(first + TEST_OF, wanted)) for first in range(0, wanted, TEST_OF)]
        metafunc.parametrize("numbers", blocks, ids=[f"{block.start}-{block.stop - 1}" for block in blocks])


@pytest.fixture
def people(user: Any, other_user: Any, settings: Any, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    settings.CHATD_QUEUE_LIMIT = QUEUE_LIMIT
    caplog.set_level("WARNING", "chat")  # thousands of transitions are nothing to tell
    return {"ann": user, "ben": other_user}


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("racing_seed"))


def raced(
    racers: Racers, pairs: Sequence[Pair], people: dict[str, Any], published: list[tuple[Any, ...]]
) -> Iterator[Finish]:
    """The pairs' chats are written; the racers race; and so it ended."""
    lay([(pair.world, pair.ids) for pair in pairs], people)
    published.clear()
    results = racers.race([(Place(pair.ids, people), pair.operations) for pair in pairs])
    families = read([pair.ids["a"] for pair in pairs])
    told = defaultdict(list)
    for hint in published:
        told[hint[1]].append(hint)
    for pair, result in zip(pairs, results, strict=True):
        family = families[pair.ids["a"]]
        yield finish_of(pair, result, family, [hint for chat_id in family for hint in told[chat_id]])


# --- whatever meets ---------------------------------------------------------------------------------------------


def test_two_at_once_end_as_if_one_had_waited_for_the_other(
    numbers: range, seed: int, people: dict[str, Any], published: list[Any]
) -> None:
    won: Counter[int] = Counter()
    with Threads() as threads, Racers(threads) as racers:
        for first in range(numbers.start, numbers.stop, AT_A_TIME):
            pairs = [draw(seed, number) for number in range(first, min(first + AT_A_TIME, numbers.stop))]
            for finish in raced(racers, pairs, people, published):
                orders = finish.orders()
                assert orders, f"as in no order (--racing-seed={seed}): {finish}"
                assert not finish.wrongs(), f"{finish.wrongs()} (--racing-seed={seed}): {finish}"
                if len(orders) == 1:
                    won[orders[0].order[0]] += 1
    if len(numbers) == TEST_OF:  # else too few to say
        assert min(won[0], won[1]) > TEST_OF / 10, f"hardly a race: {won}"


@pytest.mark.django_db(transaction=False)
def test_every_operation_is_drawn_where_it_succeeds_and_where_it_is_refused(seed: int) -> None:
    done: Counter[tuple[str, bool]] = Counter()
    for number in range(2 * TEST_OF):
        pair = draw(seed, number)
        for order in ORDERS:
            results = foretell(pair.world, pair.operations, order).results
            for operation, result in zip(pair.operations, results, strict=True):
                done[operation.kind, result.done] += 1
    always = {"take over"}  # looks at nothing
    assert {kind for kind in KINDS if done[kind, True] < 10} == set()
    assert {kind for kind in KINDS if done[kind, False] < 10} == always


def test_a_reader_sees_the_chat_before_between_or_after_two_at_once_and_never_by_half(
    seed: int, people: dict[str, Any], published: list[Any]
) -> None:
    readings: dict[UUID, list[ChatSnapshot]] = defaultdict(list)

    def watch(place: Place) -> None:
        readings[place.ids["a"]].append(chat_read(place.ids["a"]))

    between = 0
    with Threads() as threads, Racers(threads, watch) as racers:
        for finish in raced(racers, [draw(seed, -number) for number in range(1, AT_A_TIME + 1)], people, published):
            read_of_it = readings[finish.pair.ids["a"]]
            versions = [snapshot.chat.snapshot_version for snapshot in read_of_it]
            assert versions == sorted(versions)
            assert any(fits(read_of_it, order) for order in finish.orders()), f"{read_of_it}: {finish}"
            between += versions[-1] == 9 and 8 in versions
    assert between


def fits(read_of_it: Sequence[ChatSnapshot], order: Prediction) -> bool:
    stages = [order.seen(stage)["a"] for stage in (0, 1, 2)]
    return all(any(shows(snapshot, stage) for stage in stages) for snapshot in read_of_it)


def shows(snapshot: ChatSnapshot, stage: dict[str, Any]) -> bool:
    chat = snapshot.chat
    columns = ("status", "archived", "snapshot_version", "history_version", "queue_version", "last_error")
    by_revision = sorted((row for row in stage["history"] if not row[-1]), key=lambda row: row[5])
    return (
        {name: getattr(chat, name) for name in columns} == {name: stage[name] for name in columns}
        and [(m["role"], m["parts"], m["revision"]) for m in snapshot.messages]
        == [(r[0], r[1], r[5]) for r in by_revision]
        and [(q["parts"], q["steering"]) for q in snapshot.queue] == [(q[0], q[4]) for q in stage["queue"]]
    )


# --- many on one chat -------------------------------------------------------------------------------------------


def test_of_eight_times_fifty_updates_of_a_chat_none_is_lost(user: Any, published: list[Any]) -> None:
    chat_id = chat_in(State.R0, user)
    at_once, made = threading.Barrier(8), []

    def update_often() -> None:
        at_once.wait(LIMIT)
        for _ in range(50):
            with chat_update(chat_id) as update:
                attempt = transitions.record_generation_attempt(update)
            made.append((update.chat.snapshot_version, attempt))

    with Threads() as eight:
        for _ in range(8):
            eight.start(update_often)
    row = chat_row(chat_id)
    assert (row["snapshot_version"], row["generation_attempt"]) == (7 + 400, 2 + 400)
    assert sorted(made) == [(7 + n, 2 + n) for n in range(1, 401)]
    assert published == [("update", chat_id, "R0")] * 400


# --- finishers --------------------------------------------------------------------------------------------------

ENDS = {
    "a step": (State.R0, lambda update, answer: transitions.commit_step(update, [answer])),
    "a step and the turn": (State.R0, lambda update, answer: end_turn(update, answer)),
    "a step and the turn, with a queue": (State.R1, lambda update, answer: end_turn(update, answer)),
    "an error": (State.R1, lambda update, answer: transitions.finish_error(update, {"message": told(answer)})),
    "an interruption": (State.I0, lambda update, answer: transitions.finish_interruption(update, [answer])),
    "an interruption, with a queue": (
        State.I1,
        lambda update, answer: transitions.finish_interruption(update, [answer]),
    ),
}


def end_turn(update: Any, answer: NewMessage) -> None:
    transitions.commit_step(update, [answer])
    transitions.finish_turn(update)


def told(answer: NewMessage) -> str:
    return str(answer.parts[0]["text"])


def finish(chat_id: UUID, end: str, word: str) -> None:
    state, transition = ENDS[end]
    status = "running" if state in (State.R0, State.R1) else "interrupting"
    with chat_update(chat_id, fence=Fence(WORKER, RUNNER, 3, status)) as update:
        transition(update, NewMessage("assistant", [{"type": "text", "text": word}]))


def traces(chat_id: UUID, word: str) -> int:
    """How often a word is to be found in the rows of a chat, deleted ones included."""
    rows = Chat.objects.filter(pk=chat_id).values_list("last_error", "messages__parts", "queue__parts").distinct()
    return len({str(part) for row in rows for part in row if f"'{word}'" in str(part)})


@pytest.mark.parametrize("end", ENDS)
def test_of_two_finishers_with_the_same_fence_the_second_is_stale_and_leaves_no_trace(
    end: str, user: Any, published: list[Any]
) -> None:
    chat_id = chat_in(ENDS[end][0], user, history=(SAID,))
    first, second = one_then_the_other(partial(finish, chat_id, end, "first"), partial(finish, chat_id, end, "second"))
    assert (first, second) == ("done", "StaleFence")
    assert (traces(chat_id, "first"), traces(chat_id, "second")) == (1, 0)
    assert chat_row(chat_id)["snapshot_version"] == 8
    assert [what for what, *_ in published] == ["update"]


@pytest.mark.parametrize("end", ENDS)
def test_of_eight_finishers_at_once_one_wins(end: str, user: Any, published: list[Any]) -> None:
    chat_id = chat_in(ENDS[end][0], user, history=(SAID,))
    at_once, ended = threading.Barrier(8), {}

    def run(word: str) -> None:
        at_once.wait(LIMIT)
        ended[word] = told_of(partial(finish, chat_id, end, word))

    with Threads() as eight:
        for word in "abcdefgh":
            eight.start(partial(run, word))
    assert Counter(ended.values()) == {"done": 1, "StaleFence": 7}
    assert {word: traces(chat_id, word) for word in ended} == {word: int(ended[word] == "done") for word in ended}
    assert chat_row(chat_id)["snapshot_version"] == 8
    assert [what for what, *_ in published] == ["update"]


# --- stopping ---------------------------------------------------------------------------------------------------


def stop(chat_id: UUID) -> None:
    with chat_update(chat_id) as update:
        transitions.interrupt(update)


STOPS = [
    ("stop", State.R0, ("done", "StaleFence"), State.I0, ["hello"], []),
    ("stop", State.R1, ("done", "StaleFence"), State.I1, ["hello"], ["queued 1"]),
    ("finish", State.R0, ("done", "TransitionNotAllowed"), State.W, ["hello", "answer"], []),
    ("finish", State.R1, ("done", "done"), State.I0, ["hello", "answer", "queued 1"], []),
]


@pytest.mark.parametrize(("first", "state", "outcome", "arrival", "history", "queue"), STOPS)
def test_a_stop_meets_the_end_of_the_turn(
    first: str,
    state: State,
    outcome: tuple[str, str],
    arrival: State,
    history: list[str],
    queue: list[str],
    user: Any,
    published: list[Any],
) -> None:
    chat_id = chat_in(state, user, history=(SAID,))
    both = [partial(stop, chat_id), partial(finish, chat_id, "a step and the turn", "answer")]
    assert one_then_the_other(*(both if first == "stop" else reversed(both))) == outcome
    assert chat_read(chat_id).state is arrival
    assert [text for _, text in history_of(chat_id)] == history
    assert queue_of(chat_id) == queue
    assert chat_row(chat_id)["snapshot_version"] == 7 + outcome.count("done")


def send(chat_id: UUID, user: Any) -> None:
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=TEXT, author=user)


def test_of_two_sends_into_the_last_place_of_a_queue_one_is_refused(
    people: dict[str, Any], published: list[Any]
) -> None:
    chat_id = chat_in(State.R1, people["ann"], queued=QUEUE_LIMIT - 1)
    assert one_then_the_other(*[partial(send, chat_id, user) for user in people.values()]) == ("done", "QueueFull")
    assert queue_of(chat_id) == ["queued 1", "queued 2", "new"]
