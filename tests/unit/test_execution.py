"""The machine's table is the one of the specification, copied by hand in `tests/table.py`."""

import itertools
import subprocess
import sys

import pytest

from chat.execution import ALLOWED, RUNNABLE, State, Status, Transition, arrivals, classify
from tests.table import TABLE, output

STATES = {
    State.N: (None, False, 0),
    State.W: ("waiting", False, 0),
    State.E0: ("error", False, 0),
    State.E1: ("error", False, 1),
    State.R0: ("running", False, 0),
    State.R1: ("running", False, 1),
    State.I0: ("interrupting", False, 0),
    State.I1: ("interrupting", False, 1),
    State.A0: ("requires_action", False, 0),
    State.A1: ("requires_action", False, 1),
    State.XW: ("waiting", True, 0),
    State.XE0: ("error", True, 0),
    State.XE1: ("error", True, 1),
}


def test_the_specification_has_twenty_five_transitions_and_fourteen_states() -> None:
    assert {transition for transition, _ in TABLE} == {str(transition) for transition in Transition}
    assert {state for _, state in TABLE} == {str(state) for state in State}
    assert len(TABLE) == 25 * 14


@pytest.mark.parametrize(("transition", "state"), list(TABLE))
def test_every_cell_is_the_one_of_the_specification(transition: str, state: str) -> None:
    assert {str(arrival) for arrival in arrivals(Transition(transition), State(state))} == set(TABLE[transition, state])


def test_the_table_has_a_row_for_every_transition_and_no_empty_cell() -> None:
    assert set(ALLOWED) == set(Transition)
    assert all(cells and all(cells.values()) for cells in ALLOWED.values())


def test_a_cell_with_two_outputs_differs_in_the_queue_only() -> None:
    for transition, cells in ALLOWED.items():
        for departure, outputs in cells.items():
            assert len({str(state).rstrip("01") for state in outputs}) == 1, (transition, departure)
            if len(outputs) == 2:
                assert {str(output(transition, departure, queued_afterwards=n))[-1] for n in (0, 1)} == {"0", "1"}


@pytest.mark.parametrize("state", list(STATES))
def test_a_state_is_read_off_its_row(state: State) -> None:
    assert classify(*STATES[state]) is state


@pytest.mark.parametrize(
    ("status", "archived", "queued"),
    list(itertools.product([*Status, "", "Waiting", "deleted", "archived", "N"], [False, True], [0, 1, 20])),
)
def test_every_other_combination_is_invalid(status: str, archived: bool, queued: int) -> None:
    known = {row: state for state, row in STATES.items()}
    assert classify(status, archived, queued) is known.get((status, archived, min(queued, 1)), State.INVALID)


def test_no_row_is_no_chat_whatever_else_is_said() -> None:
    assert {classify(None, archived, queued) for archived in (False, True) for queued in (0, 1)} == {State.N}


def test_work_is_to_be_done_where_a_chat_runs_or_stops() -> None:
    assert {State.R0, State.R1, State.I0, State.I1} == RUNNABLE


def test_the_table_needs_neither_django_nor_celery() -> None:
    heavy = {"django", "celery", "redis", "pydantic"}
    check = f"import sys, chat.execution; sys.exit(', '.join({heavy} & {{*sys.modules}}) or 0)"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
