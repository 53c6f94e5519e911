"""What the demo model decides to do, as a table from prompts to scripts. Pure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demomodel.answer import script_for
from demomodel.conversation import Conversation, ToolResult
from demomodel.script import Ending, Failure, Script, ToolCall


def scripted(prompt: str, **conversation: object) -> Script:
    return script_for(Conversation(prompt, **conversation))  # type: ignore[arg-type]


def text_of(script: Script) -> str:
    return "".join(script.text)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[say yes]", Script(text=("yes",))),
        ("Please [say two words] now", Script(text=("two", " words"))),
        ("[say a [1] b]", Script(text=("a", " [1]", " b"))),
        ("[say ]", Script()),
        ("[say a] [say b]", Script(text=("a", " b"))),
        ("[long 3]", Script(text=("word1", " word2", " word3"))),
        ("[long 0]", Script()),
        ("[say abcdef] [chunks 3]", Script(text=("ab", "cd", "ef"))),
        ("[chunks 9] [say abc]", Script(text=("a", "b", "c"))),
        ("[think first this] [say x]", Script(text=("x",), reasoning=("first", " this"))),
        ("[say x] [at once]", Script(text=("x",), interval=0.0)),
        ("[say x] [interval 0.05]", Script(text=("x",), interval=0.05)),
        ("[say x] [first token after 2]", Script(text=("x",), first_token_after=2.0)),
        ("[say x] [stall after 0]", Script(text=("x",), ending=Ending.STALL, ends_after=0)),
        ("[say x] [cut after 10]", Script(text=("x",), ending=Ending.CUT, ends_after=10)),
        ("[say x] [error after 1]", Script(text=("x",), ending=Ending.ERROR, ends_after=1)),
        ("[fail 529] [say x]", Script(text=("x",), failure=Failure(529))),
        ("[fail 500 times 2] [say x]", Script(text=("x",), failure=Failure(500, times=2))),
        (
            "[fail 429 retry-after 2 times 1 code slow_down] [say x]",
            Script(text=("x",), failure=Failure(429, code="slow_down", retry_after="2", times=1)),
        ),
        ('[call weather {"city": "Par]is"}]', Script(calls=(ToolCall("weather", '{"city": "Par]is"}'),))),
        ("[call now]", Script(calls=(ToolCall("now", "{}"),))),
        ("[say x] [call a] [call b]", Script(text=("x",), calls=(ToolCall("a", "{}"), ToolCall("b", "{}")))),
        (
            "[call doubled a {}]",
            Script(calls=(ToolCall("a", "{}"), ToolCall("a", "{}", repeats_id=True))),
        ),
    ],
)
def test_a_directive_scripts_the_answer(prompt: str, expected: Script) -> None:
    assert scripted(prompt) == expected


def test_a_broken_call_has_arguments_that_are_not_json() -> None:
    (call,) = scripted("[call broken weather]").calls
    assert call.name == "weather"
    with pytest.raises(ValueError):
        json.loads(call.arguments)


@pytest.mark.parametrize(
    "directive",
    [
        "[long many]",
        "[long 100001]",
        "[long -1]",
        "[chunks 0]",
        "[interval fast]",
        "[interval nan]",
        "[interval 9999]",
        "[first token after ever]",
        "[stall 1 2]",
        "[stall after all]",
        "[cut after]x]",
        "[fail 200]",
        "[fail 99]",
        "[fail 429 retry-after soon]",
        "[fail 500 times -1]",
        "[fail 400 code a\u00a0b]",
        "[call two words]",
        "[call weather {city: Paris}]",
        "[call weather [1]]",
    ],
)
def test_a_malformed_directive_is_answered_with_an_explanation(directive: str) -> None:
    script = scripted(f"[fail 500] {directive} [cut after 1]")
    assert text_of(script).startswith("I could not understand the directive `[")
    assert "[say TEXT]" in text_of(script)
    assert script == Script(text=script.text)


@pytest.mark.parametrize(
    "prompt",
    [
        "a list [1, 2], a [link](https://example.org) and [sic]",
        "[sayonara] [longing 3] [Say x] [say] [at once more] [then what] [error 12] [call] [ say x]",
        "an open [say bracket",
        "quoted `[say x]` and ```\n[fail 500]\n```",
        "<conversation>[stall after 3] [long 9]</conversation> Write a title.",
    ],
)
def test_other_brackets_and_quotations_are_prose(prompt: str) -> None:
    script = scripted(prompt)
    assert "I am the demo model" in text_of(script)
    assert script == Script(text=script.text)


def test_a_directive_beside_a_quotation_still_counts() -> None:
    assert text_of(scripted("an `open quote and a <tag> [say x]")) == "x"
    assert text_of(scripted("`[say x]` [say y]")) == "y"
    assert text_of(scripted("[say `x` <b>]")) == "`x` <b>"


def test_a_directive_of_pace_alone_leaves_the_ordinary_answer_about_the_rest() -> None:
    script = scripted("[interval 1] why is the sky blue?")
    assert script.interval == 1.0
    assert "why is the sky blue?" in text_of(script)
    assert "[interval 1]" not in text_of(script)


def test_a_greeting_is_greeted_and_a_question_is_restated() -> None:
    assert text_of(scripted("Hello")).startswith("Hello! I am the demo model")
    assert "What is the capital of Mexico?" in text_of(scripted("What is the capital of Mexico?"))
    assert "no text" in text_of(scripted(""))


def test_an_offered_tool_is_mentioned() -> None:
    assert "[call weather {}]" in text_of(scripted("How warm is it?", tools=("weather", "search")))


@given(st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_without_a_directive_the_answer_has_20_to_80_words_and_is_always_the_same(
    prompt: str, tools: list[str]
) -> None:
    prose = prompt.replace("[", "(")
    script = scripted(prose, tools=tuple(tools))
    assert script == scripted(prose, tools=tuple(tools))
    words = text_of(script).split()
    assert 20 <= len(words) <= 80, words


@given(st.text(alphabet='[]`<>{}/"abt alongy12\n'), st.integers(0, 3))
def test_no_prompt_is_too_strange_to_be_answered(noise: str, step: int) -> None:
    assert isinstance(scripted(f"{noise}[long 2{noise}]{noise}[call a {noise}]", step=step), Script)


@given(st.text(), st.integers(1, 50))
def test_chunks_join_to_the_text_and_none_is_empty(text: str, count: int) -> None:
    said = text.replace("[", "(").replace("]", ")")
    by_words, in_chunks = scripted(f"[say {said}]"), scripted(f"[say {said}] [chunks {count}]")
    assert text_of(by_words) == text_of(in_chunks) == said
    assert all(by_words.text) and all(in_chunks.text)
    assert len(in_chunks.text) == min(count, len(said))


RESULTS = (ToolResult("weather", "21 degrees"),)


def test_tool_results_are_mentioned_in_words() -> None:
    script = scripted("[call weather]", step=1, results=RESULTS)
    assert "weather answered: 21 degrees" in text_of(script)
    assert not script.calls


def test_then_separates_the_requests_of_one_turn() -> None:
    prompt = "[at once] [call a] [then] [fail 500 times 1] [call b] [then] [say done]"
    first, second, third, fourth = (scripted(prompt, step=step, results=RESULTS) for step in range(4))
    assert first.calls == (ToolCall("a", "{}"),)
    assert second == Script(calls=(ToolCall("b", "{}"),), failure=Failure(500, times=1), interval=0.0)
    assert third == Script(text=("done",), interval=0.0)
    assert "weather answered" in text_of(fourth)


def test_a_malformed_directive_of_a_later_step_is_explained_in_the_first() -> None:
    assert "could not understand" in text_of(scripted("[call a] [then] [long x]"))


@pytest.mark.parametrize(
    ("limit", "reasoning", "text", "finish_reason"),
    [
        (None, "a b", "c d", "tool_calls"),
        (4, "a b", "c d", "tool_calls"),
        (3, "a b", "c", "length"),
        (1, "a", "", "length"),
    ],
)
def test_a_token_limit_cuts_reasoning_first_and_drops_calls(
    limit: int | None, reasoning: str, text: str, finish_reason: str
) -> None:
    script = scripted("[think a b] [say c d] [call t]").limited_to(limit)
    assert "".join(script.reasoning) == reasoning
    assert text_of(script) == text
    assert script.finish_reason == finish_reason
    assert bool(script.calls) == (finish_reason == "tool_calls")
