"""The judge: what was asked and seen, and what is stored, in; findings out. Pure.

`evidence` are the values it judges; `words` the messages (I1, I2, I3, I8), `owners` the changes of rows (I4, I5, I7),
`quiet` what is left when everything is over (I6, I9), `health` whether the faults happened at all (I10). The numbers
are those of docs/chaos.md.
"""

from devtools.chaos.oracle.evidence import Evidence, Finding, Kind, Terms
from devtools.chaos.oracle.owners import judge_owners
from devtools.chaos.oracle.quiet import judge_quiet
from devtools.chaos.oracle.words import judge_words

__all__ = ["Evidence", "Finding", "Kind", "Terms", "judge"]


def judge(evidence: Evidence, terms: Terms) -> list[Finding]:
    """Every way in which the evidence contradicts the invariants."""
    return [*judge_words(evidence, terms), *judge_owners(evidence, terms), *judge_quiet(evidence, terms)]
