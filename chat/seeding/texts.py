"""What people ask and models answer: a few hundred exchanges on a dozen topics, put together at random. Pure.

Of the length and shape of real ones: short questions, answers of one to eight sentences, now and then a list, a piece
of code, a tool that is called, a word that is not ASCII.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

ASK = {"name": "pick_one", "description": "Let the person choose.", "input_schema": {"type": "object"}}
"""A tool that the client executes."""

_TOPICS: dict[str, tuple[list[str], list[str]]] = {
    "Postgres": (
        ["index", "vacuum", "a slow query", "a deadlock", "a migration that locks", "partitions", "a full disk"],
        ["The planner goes by statistics, so run ANALYZE.", "An index on both columns turns the sort into a walk.",
         "Look at pg_stat_activity for who waits for whom.", "Build it CONCURRENTLY, or writers wait for you.",
         "EXPLAIN (ANALYZE, BUFFERS) shows where the pages come from.", "A long transaction keeps dead rows alive."],
    ),
    "Django": (
        ["a queryset that repeats itself", "select_related", "signals", "a custom user model", "async views"],
        ["Prefetch the relation and the N+1 is gone.", "Put the rule into the database, not into save().",
         "A transaction per request hides the lock you hold.", "Test with a real database: mocks agree with all."],
    ),
    "cooking": (
        ["risotto", "a cake without eggs", "leftover rice", "Käsespätzle", "a curry for eight", "sourdough"],
        ["Let the onions take their time.", "Salt early, taste often.", "Rest it for ten minutes before you cut it.",
         "A spoon of vinegar wakes it up.", "Crème fraîche goes in last, off the heat."],
    ),
    "travel": (
        ["three days in Lisbon", "a night train to Zürich", "hiking in Madeira", "Kyoto in November", "a bike tour"],
        ["Book the first night only, and stay where you like it.", "The museum is free on the first Sunday.",
         "Take the slow train: it follows the coast.", "Carry cash for the ferry."],
    ),
    "letters": (
        ["a complaint to my landlord", "a cover letter", "a thank-you note", "a resignation", "an invitation"],
        ["I kept it short and friendly; here is a draft.", "Name the date and what you ask for in the first sentence.",
         "The tone is firm, and leaves the door open."],
    ),
    "spreadsheets": (
        ["a pivot table", "XLOOKUP", "duplicate rows", "a budget for the year", "dates that are text"],
        ["Convert the column first; then the sum works.", "A helper column is easier to read than a nested formula.",
         "Here is the formula, step by step."],
    ),
    "languages": (
        ["the subjunctive", "false friends", "ser and estar", "word order", "a poem by Rilke"],
        ["Read it aloud: the rhythm tells you where the verb belongs.", "¿Cuándo? is a question, cuando is not.",
         "Learn the pair together, never one alone."],
    ),
    "the garden": (
        ["tomatoes with black spots", "a hedge for shade", "slugs", "compost that smells", "winter vegetables"],
        ["Water in the morning, at the root.", "Mix in dry leaves and turn it once a week.", "Give them more light."],
    ),
}  # fmt: skip
_QUESTIONS = [
    "How do I deal with {it}?", "Can you explain {it} to me, please?", "I am stuck with {it}. What would you try?",
    "What is the best way to start with {it}?", "Is there a simpler way to handle {it}? I have tried for two days now.",
    "Give me some ideas about {it}.", "Why does everybody complain about {it}?", "And {it}?", "ok, and what about {it}",
]  # fmt: skip
_OPENINGS = ["Happy to help.", "Good question.", "In short: yes.", "That depends on what you need.", "Here is a plan."]
_CODE = "```sql\nSELECT id, title\nFROM chat_chat\nWHERE owner_id = 42\nORDER BY updated_at DESC\nLIMIT 20;\n```"


@dataclass(frozen=True, slots=True)
class Row:
    role: str
    parts: list[dict[str, Any]]
    usage: dict[str, int] | None = None


Exchange = tuple[Row, ...]
"""A question and all that answers it."""


def exchanges(seed: int, count: int = 600) -> list[Exchange]:
    """Every sixth with a call of a tool: four rows; the others are two."""
    rng = Random(f"texts {seed}")
    return [_exchange(rng, number) for number in range(count)]


def question_of(exchange: Exchange) -> str:
    return str(exchange[0].parts[0]["text"])


def pending_call(number: int) -> Row:
    """An answer that waits for its client."""
    call = {"type": "tool_call", "tool_call_id": f"pick-{number}", "tool_name": ASK["name"], "args": {"of": ["a", "b"]}}
    return Row("assistant", [{"type": "text", "text": "Which one do you mean?"}, call], _usage(60))


def _exchange(rng: Random, number: int) -> Exchange:
    topic = rng.choice(list(_TOPICS))
    things, sentences = _TOPICS[topic]
    asked = Row("user", [_text(rng.choice(_QUESTIONS).format(it=rng.choice(things)))])
    answer = _answer(rng, sentences)
    answered = Row("assistant", [_text(answer)], _usage(len(answer)))
    if number % 6:
        return asked, answered
    call_id = f"call-{number}"
    call = {"type": "tool_call", "tool_call_id": call_id, "tool_name": "search", "args": {"query": topic}}
    found = [{"title": topic, "snippet": sentence} for sentence in sentences[:3]]
    result = {
        "type": "tool_result", "tool_call_id": call_id, "tool_name": "search", "output": found, "is_error": False,
        "synthetic": False,
    }  # fmt: skip
    calls = Row("assistant", [{"type": "reasoning", "text": "Let me look that up first."}, call], _usage(40))
    return asked, calls, Row("tool", [result]), answered


def _answer(rng: Random, sentences: list[str]) -> str:
    chosen = rng.choices(sentences, k=rng.choice([1, 2, 2, 3, 3, 4, 5, 8]))
    if rng.random() < 0.15:
        return "\n".join([rng.choice(_OPENINGS), "", *(f"{i}. {one}" for i, one in enumerate(chosen, 1))])
    text = " ".join([rng.choice(_OPENINGS), *chosen])
    return f"{text}\n\n{_CODE}" if rng.random() < 0.08 else text


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _usage(length: int) -> dict[str, int]:
    return {"input_tokens": 200 + 3 * length, "output_tokens": 8 + length // 4}
