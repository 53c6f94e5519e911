"""From a conversation to the script of its answer.

Pure; the table of its tests is `tests/unit/test_demomodel_script.py`. Nothing fails here: a malformed
directive becomes a script that explains directives.
"""

from __future__ import annotations

from demomodel import wording
from demomodel.conversation import Conversation
from demomodel.directives import Draft, Malformed, apply_directive
from demomodel.scanning import Directive, find_directives
from demomodel.script import Script


def script_for(conversation: Conversation) -> Script:
    """Decide the answer. Directives after the n-th `[then]` are for the n-th step of the turn."""
    directives, prose = find_directives(conversation.prompt)
    drafts: list[Draft] = []
    interval: float | None = None
    for step in _split_at_then(directives):
        draft = Draft(interval=interval)
        for directive in step:
            try:
                apply_directive(draft, directive)
            except Malformed as malformed:
                written = f"[{directive.keyword} {directive.argument}]"
                return Script(text=wording.by_words(wording.explain(written, str(malformed))))
        interval = draft.interval
        drafts.append(draft)

    def in_own_words() -> str:
        if conversation.results:
            return wording.reply_to_results(conversation.results)
        return wording.reply_to(prose, conversation.tools)

    beyond = conversation.step >= len(drafts)
    chosen = Draft(interval=interval) if beyond else drafts[conversation.step]
    return chosen.script(otherwise=in_own_words)


def _split_at_then(directives: list[Directive]) -> list[list[Directive]]:
    steps: list[list[Directive]] = [[]]
    for directive in directives:
        if directive.keyword == "then":
            steps.append([])
        else:
            steps[-1].append(directive)
    return steps
