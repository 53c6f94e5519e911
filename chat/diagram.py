"""The state machine as docs: a Markdown table and a Mermaid diagram, both read off the table itself. Pure.

`manage.py chat_diagram` prints them; docs/architecture.md holds its output, and a test compares.
"""

from chat.execution import ALLOWED, State, Transition

_HEADS = {State.INVALID: "Inv"}
_HIDDEN = (Transition.ACQUIRE, Transition.ABANDON, Transition.CREATE)


def table() -> str:
    """One row per transition, one column per departure; a dot is a refusal, "R0/R1" one of the two."""
    heads = [_HEADS.get(state, str(state)) for state in State]
    lines = [f"| transition | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for transition in Transition:
        cells = (_arrivals(transition, state) for state in State)
        lines.append(f"| {transition} | {' | '.join(cells)} |")
    return "\n".join(lines)


def diagram() -> str:
    """Every change of state and what makes it; what leaves a state as it is, and ownership, is left out."""
    edges: dict[tuple[State, State], list[str]] = {}
    for transition, departures in ALLOWED.items():
        for departure, arrivals in departures.items():
            for arrival in arrivals:
                if departure is not arrival and transition not in _HIDDEN:
                    edges.setdefault((departure, arrival), []).append(str(transition))
    order = list(State)
    lines = ["stateDiagram-v2", "    [*] --> R0: create"]
    for departure, arrival in sorted(edges, key=lambda edge: (order.index(edge[0]), order.index(edge[1]))):
        lines.append(f"    {departure} --> {arrival}: {', '.join(edges[departure, arrival])}")
    return "\n".join(lines)


def markdown() -> str:
    return f"{table()}\n\n```mermaid\n{diagram()}\n```"


def _arrivals(transition: Transition, departure: State) -> str:
    arrivals = ALLOWED[transition].get(departure)
    return "/".join(str(state) for state in State if state in arrivals) if arrivals else "·"
