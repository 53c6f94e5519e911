"""Answer the calls of the last assistant message, in their order, in one step.

No tool is offered to a model yet, so every call is one that the model made up; it gets an error that says so, because
history is well-formed only when every call has a result.
"""

from functools import partial

from chat import content, transitions
from chat.crash import crash_point
from chat.transitions import NewMessage
from chat.update import chat_update
from chatworker.resources import Resources
from chatworker.work.step import ExecuteTools, Step


async def execute_tools(step: ExecuteTools, resources: Resources) -> Step:
    crash_point("tools.commit.before")
    following = await resources.commit(partial(_commit, step, resources), what="commit_step")
    crash_point("tools.commit.after")
    return following


def _commit(step: ExecuteTools, resources: Resources) -> Step:
    results = [
        NewMessage("tool", [content.tool_result(call, f"There is no tool {call['tool_name']!r}.", is_error=True)])
        for call in step.calls
    ]
    with chat_update(step.chat_id, fence=step.fence) as update:
        transitions.commit_step(update, results)
        return resources.next_step(update, known=step.history)
