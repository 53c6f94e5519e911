"""The real machine under a walk: takes a step, and says what is wrong afterwards."""

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from chat import transitions
from chat.errors import ChatRefusal
from chat.models import Chat
from chat.transitions import NewMessage
from chat.update import ChatUpdate, Fence, chat_read, chat_update
from tests.factories import nowhere
from tests.reference.reading import COLUMNS, Readings, broken
from tests.reference.walk import OWNERS, Move, Step
from tests.reference.world import Row, World

TOLD = tuple(column for column in COLUMNS if not column.endswith("_at"))
"""What a publication says of a chat."""
ROWS = ("messages", "partial", "boundary", "suffix")
"""Arguments that are messages for the history."""
_ANOTHERS_LEASE = f"""INSERT INTO chat_runnerlease (chat_id, worker_id, runner_id)
    VALUES (%s, '{OWNERS[2][0]}', '{OWNERS[2][1]}')
    ON CONFLICT (chat_id, runner_id) DO UPDATE SET worker_id = excluded.worker_id, heartbeat_at = now()"""


class Whatever(Exception):
    """What a block raises by itself."""


class Machine:
    """The real machine: takes a step, and says what happened."""

    def __init__(self, people: dict[str, Any], told: list[Any], reader: BaseDatabaseWrapper) -> None:
        self._people = people
        self._told = told
        self.readings = Readings({name: user.pk for name, user in people.items()}, reader)

    def take(self, step: Step, world: World) -> list[str]:
        """What is wrong after the step; empty if everything is as the reference says."""
        self._told.clear()
        error, done = None, [0]
        try:
            getattr(self, f"_{step.kind}")(step, done)
        except Exception as caught:  # an unexpected one is a finding too
            error = caught
        wrong = _ending(step, error, done[0])
        written = self.readings.read()
        if (step.refused or step.kind == "read") and written:
            wrong.append(f"something was written: {sorted(written)}")
        touched = {chat for _, chat, _ in step.published} | ({step.chat} if step.kind == "by_hand" else set())
        wrong += self.readings.differences(world, written | touched)
        wrong += self._published(step)
        for name in written:
            found = broken(self.readings.stored[name], by_hand=step.kind == "by_hand")
            wrong += [f"{name}: {what}" for what in found]
        return wrong

    def _published(self, step: Step) -> list[str]:
        name_of = {chat_id: name for name, chat_id in self.readings.ids.items()}
        told = [(what, name_of.get(chat_id, chat_id), state) for what, chat_id, state, _ in self._told]
        expected = [(what, chat, state if what == "update" else None) for what, chat, state in step.published]
        if sorted(told, key=_chat_of) != sorted(expected, key=_chat_of):
            return [f"published {told}, expected {expected}"]
        stale = []
        for what, chat, _, facts in self._told:
            row = self.readings.stored[name_of[chat]].row
            stale += [f"{name} of {name_of[chat]} was published as {value!r}, and is {row[name]!r}"
                      for name, value in facts.items() if value != row[name] and what == "update"]  # fmt: skip
        return stale

    # --- the kinds of steps ------------------------------------------------------------------------------------

    def _update(self, step: Step, done: list[int]) -> None:
        chat_id = self.readings.ids.get(step.chat)
        with chat_update(UUID(chat_id) if chat_id else nowhere(), fence=_fence(step)) as update:
            for move in step.moves:
                if move.caught is None:
                    self._do(update, move)
                else:
                    self._do_and_go_on(update, move)
                done[0] += 1
            if step.raises:
                raise Whatever

    def _do(self, update: ChatUpdate, move: Move) -> None:
        getattr(transitions, move.name)(update, **self._real(move.arguments))

    def _do_and_go_on(self, update: ChatUpdate, move: Move) -> None:
        try:
            self._do(update, move)
        except ChatRefusal as refusal:
            if move.caught is None or type(refusal).__name__ not in move.caught.names:
                raise
        else:
            raise AssertionError(f"{move} was not refused")

    def _create(self, step: Step, done: list[int]) -> None:
        arguments = self._real(step.moves[0].arguments)
        if parent := arguments.get("parent"):
            arguments["parent"] = Chat.objects.get(pk=self.readings.ids[parent])
        chat = transitions.create_chat(owner=arguments.pop("author"), **arguments)
        self.readings.ids[step.chat] = str(chat.pk)

    def _read(self, step: Step, done: list[int]) -> None:
        stored = self.readings.stored[step.chat]
        snapshot = chat_read(UUID(self.readings.ids[step.chat]), fence=_fence(step))
        assert {name: plain(getattr(snapshot.chat, name)) for name in TOLD} == {n: stored.row[n] for n in TOLD}
        history = [known for known, message in stored.messages.items() if not message[-1]]
        assert sorted(message["id"] for message in snapshot.messages) == history
        assert [queued["id"] for queued in snapshot.queue] == [queued[0] for queued in stored.queue]

    def _by_hand(self, step: Step, done: list[int]) -> None:
        changes, chat_id = step.moves[0].arguments, self.readings.ids[step.chat]
        sql = {
            "stale": "UPDATE chat_runnerlease SET heartbeat_at = now() - interval '9 days' WHERE chat_id = %s",
            "gone": "DELETE FROM chat_runnerlease WHERE chat_id = %s",
            "another's": _ANOTHERS_LEASE,
        }.get(changes.get("lease", ""), f"UPDATE chat_chat SET {', '.join(f'{c} = %s' for c in changes)} WHERE id = %s")
        with connection.cursor() as cursor:
            cursor.execute(sql, [*(value for name, value in changes.items() if name != "lease"), chat_id])

    def _real(self, arguments: dict[str, Any]) -> dict[str, Any]:
        real = dict(arguments)
        for name, value in arguments.items():
            if name == "author":
                real[name] = self._people[value]
            elif name in ("worker_id", "runner_id"):
                real[name] = UUID(value)
            elif name in ROWS:
                real[name] = [_new_message(row) for row in value]
        return real

    def forget(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM chat_chat WHERE id = ANY(%s)", [list(self.readings.ids.values())])


def _fence(step: Step) -> Fence | None:
    if step.fence is None:
        return None
    ids = {name: UUID(step.fence[name]) for name in ("worker_id", "runner_id")}
    return Fence(**(step.fence | ids))


def _new_message(row: Row) -> NewMessage:
    names = ("role", "parts", "model", "usage", "interrupted", "visibility", "compressed")
    return NewMessage(**{name: getattr(row, name) for name in names})


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _chat_of(event: tuple[Any, ...]) -> Any:
    return event[1]


def _ending(step: Step, error: Exception | None, done: int) -> list[str]:
    """Whether the step ended as it should, and where."""
    if step.refused is None:
        return [f"failed with {type(error).__name__}: {error}"] if error else []
    expected = " or ".join(sorted(step.refused.names))
    if error is None:
        return [f"was not refused: expected {expected}"]
    if type(error).__name__ not in step.refused.names:
        return [f"failed with {type(error).__name__}: {error}; expected {expected}"]
    last = max(0, len(step.moves) - (not step.raises)) if step.kind == "update" else done
    return [] if done == last else [f"move {done + 1} was refused, not move {last + 1}"]
