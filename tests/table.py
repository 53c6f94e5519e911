"""The transition table of the specification, copied by hand and cell by cell: the code's own table is checked
against it. A dot is a refusal; of two outputs the first is taken when no queued message is left afterwards."""

from chat.execution import State, Transition

GRID = """
transition                 N   W   E0  E1     R0  R1     I0  I1     A0  A1     XW  XE0  XE1  Invalid
create                     R0  ·   ·   ·      ·   ·      ·   ·      ·   ·      ·   ·    ·    ·
send_message_queue         ·   R0  R0  R1     R1  R1     I1  I1     A1  A1     ·   ·    ·    ·
send_message_interrupt     ·   R0  R0  R1     I1  I1     I1  I1     R1  R1     ·   ·    ·    ·
edit_message               ·   R0  R0  R0     R0  R0     R0  R0     R0  R0     ·   ·    ·    ·
update_queued_message      ·   ·   ·   E1     ·   R1     ·   I1     ·   A1     ·   ·    ·    ·
delete_queued_message      ·   ·   ·   E0/E1  ·   R0/R1  ·   I0/I1  ·   A0/A1  ·   ·    ·    ·
promote_queued_message     ·   ·   ·   R0/R1  ·   I1     ·   I1     ·   R0/R1  ·   ·    ·    ·
interrupt                  ·   ·   ·   ·      I0  I1     ·   ·      R0  R1     ·   ·    ·    ·
request_compaction         ·   R0  R0  R1     ·   ·      ·   ·      ·   ·      ·   ·    ·    ·
clear_context              ·   W   W   ·      ·   ·      ·   ·      ·   ·      ·   ·    ·    ·
record_generation_attempt  ·   ·   ·   ·      R0  R1     ·   ·      ·   ·      ·   ·    ·    ·
record_retry_state         ·   ·   ·   ·      R0  R1     ·   ·      ·   ·      ·   ·    ·    ·
commit_step                ·   ·   ·   ·      R0  R1     ·   ·      ·   ·      ·   ·    ·    ·
absorb_steering            ·   ·   ·   ·      ·   R0/R1  ·   ·      ·   ·      ·   ·    ·    ·
enter_requires_action      ·   ·   ·   ·      A0  A1     ·   ·      ·   ·      ·   ·    ·    ·
complete_requires_action   ·   ·   ·   ·      ·   ·      ·   ·      R0  R1     ·   ·    ·    ·
cancel_requires_action     ·   ·   ·   ·      ·   ·      ·   ·      R0  R1     ·   ·    ·    ·
finish_turn                ·   ·   ·   ·      W   R0/R1  ·   ·      ·   ·      ·   ·    ·    ·
finish_error               ·   E0  ·   ·      E0  E1     ·   ·      ·   ·      ·   ·    ·    ·
finish_interruption        ·   ·   ·   ·      ·   ·      W   R0/R1  ·   ·      ·   ·    ·    ·
set_archived_true          ·   XW  XE0 XE1    ·   ·      ·   ·      ·   ·      ·   ·    ·    ·
set_archived_false         ·   ·   ·   ·      ·   ·      ·   ·      ·   ·      W   E0   E1   ·
reconcile_invalid_state    ·   ·   ·   ·      ·   ·      ·   ·      ·   ·      ·   ·    ·    E0/E1
acquire                    ·   W   E0  E1     R0  R1     I0  I1     A0  A1     XW  XE0  XE1  Invalid
abandon                    ·   W   E0  E1     R0  R1     I0  I1     A0  A1     XW  XE0  XE1  Invalid
"""


def _cells() -> dict[tuple[str, str], tuple[str, ...]]:
    (_, *states), *lines = (line.split() for line in GRID.strip().splitlines())
    return {
        (transition, state): () if cell == "·" else tuple(cell.split("/"))
        for transition, *cells in lines
        for state, cell in zip(states, cells, strict=True)
    }


TABLE = _cells()
"""(transition, state) → the outputs in their order; empty: refused."""


def output(transition: Transition, state: State, *, queued_afterwards: int) -> State | None:
    """Where the table leads; None where it refuses."""
    outputs = TABLE[transition, state]
    if not outputs:
        return None
    return State(outputs[0] if queued_afterwards == 0 else outputs[-1])
