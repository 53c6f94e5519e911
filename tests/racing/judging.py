"""Whether what two operations did at once is what one after the other would have done.

`judge` compares with the reference, and counts messages, snapshots and winners without it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.racing.drawing import ENDING, Pair
from tests.racing.field import NOW
from tests.racing.operations import Prediction, Result, beginning, foretell, seen
from tests.reference.world import ChatModel

ORDERS = ((0, 1), (1, 0))
Published = Counter[tuple[str, str, str]]


@dataclass(frozen=True)
class Finish:
    """A pair after the race: its chats by name, new ones by what they began with."""

    pair: Pair
    results: Sequence[Result]
    chats: Mapping[str, ChatModel]
    published: Published

    def orders(self) -> list[Prediction]:
        """Of the two orders, those that explain everything there is to see."""
        actual = {name: seen(chat) for name, chat in self.chats.items()}
        told = [foretell(self.pair.world, self.pair.operations, order) for order in ORDERS]
        return [one for one in told if self._is_as(one) and one.seen(2) == actual]

    def _is_as(self, told: Prediction) -> bool:
        agree = all(result.agrees(other) for result, other in zip(self.results, told.results, strict=True))
        return agree and self.published == told.published

    # --- without the reference ---------------------------------------------------------------------------------

    def wrongs(self) -> list[str]:
        """What no order may ever do."""
        return [*self._lost_or_doubled(), *self._states(), *self._winners()]

    def _lost_or_doubled(self) -> list[str]:
        there = Counter(told for chat in self.chats.values() for told in texts(chat))
        both = list(zip(self.pair.operations, self.results, strict=True))
        taken_away = any(result.done and operation.kind in ("edit", "delete", "rewrite") for operation, result in both)
        expected = {text: result.done for operation, result in both for text in operation.says}
        expected |= {text: True for chat in self.pair.world.chats.values() for text in queued_texts(chat)}
        return [
            f"{text!r} is there {there[text]} times"
            for text, wanted in expected.items()
            if there[text] != wanted and not (wanted and taken_away and there[text] == 0)
        ]

    def _states(self) -> list[str]:
        wrong = [f"{name} is invalid" for name, chat in self.chats.items() if chat.state == "Invalid"]
        alone = len(self.pair.world.chats) == 1 and len(self.chats) == 1
        if alone and self.chats["a"].snapshot_version != NOW + sum(result.done for result in self.results):
            wrong.append(f"the snapshot is {self.chats['a'].snapshot_version}")
        return wrong

    def _winners(self) -> list[str]:
        """Two that end a piece of work under the same fence: one of them at most is done."""
        first, second = self.pair.operations
        same = (
            first.chat == second.chat and first.fence and second.fence and _owner(first.fence) == _owner(second.fence)
        )
        if same and {first.kind, second.kind} <= ENDING and all(result.done for result in self.results):
            return ["both of two finishers won"]
        return []

    def __str__(self) -> str:
        told = [foretell(self.pair.world, self.pair.operations, order) for order in ORDERS]
        lines = [f"pair {self.pair.number}", *map(str, self.pair.operations)]
        lines += [f"got {', '.join(map(str, self.results))}; published {dict(self.published)}"]
        lines += [f"before {name}: {seen(chat)}" for name, chat in self.pair.world.chats.items()]
        lines += [f"now {name}: {seen(chat)}" for name, chat in self.chats.items()]
        for order, one in zip(ORDERS, told, strict=True):
            lines.append(f"in the order {order}: {', '.join(map(str, one.results))}; {dict(one.published)}")
            lines += [f"  then {name}: {chat}" for name, chat in one.seen(2).items()]
        return "\n".join(lines)


def _owner(fence: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fence.items() if name != "generation_attempt"}


def texts(chat: ChatModel) -> list[str]:
    """Every text of a chat, also of what an edit has hidden."""
    return [part["text"] for row in chat.history for part in row.parts if "text" in part] + queued_texts(chat)


def queued_texts(chat: ChatModel) -> list[str]:
    return [part["text"] for row in chat.queue for part in row.parts]


def finish_of(
    pair: Pair, results: Sequence[Result], family: Mapping[Any, ChatModel], published: Sequence[tuple[Any, ...]]
) -> Finish:
    """`family`: by id; `published`: about its chats, (what, id, state)."""
    names = {chat_id: name for name, chat_id in pair.ids.items()}
    names |= {chat_id: beginning(chat) for chat_id, chat in family.items() if chat_id not in names}
    told = Counter((what, names.get(chat_id, str(chat_id)), *(state or [""])) for what, chat_id, *state in published)
    return Finish(pair, results, {names[chat_id]: chat for chat_id, chat in family.items()}, told)
