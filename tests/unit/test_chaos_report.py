"""What the fault suite prints: results in, text out. And its options."""

from dataclasses import replace

import pytest

from devtools.chaos import options, report
from devtools.chaos.campaign import Result
from devtools.chaos.faults import FAULTS, Size
from devtools.chaos.measures import Cost, Passage
from devtools.chaos.oracle import Finding, Kind
from tests.blows import CHAT, FROZEN, KILL, PASSAGE

RESULT = Result(
    FAULTS["kill-worker"], runs=2, blows=[KILL],
    takeovers=[PASSAGE, Passage(CHAT, KILL, 9.0), Passage(CHAT, FROZEN, 7.0)],
    findings=[Finding(Kind.LOST, "I1", "gone", CHAT), Finding(Kind.WEAK, "I10", "missed")], cost=Cost(40, 3),
)  # fmt: skip


def test_the_json_object_has_what_the_contract_names() -> None:
    figures = report.summary([RESULT], seed=7)
    named = {name: figures[name] for name in ("runs", "lost", "doubled", "malformed", "stuck", "seed", "violations")}
    assert named == {
        "runs": 2, "lost": 1, "doubled": 0, "malformed": 0, "stuck": 0, "seed": 7, "violations": 2,
    }  # fmt: skip
    assert (figures["takeover_p50_s"], figures["takeover_p99_s"]) == (2.0, 9.0)
    assert figures["faults"]["kill-worker"]["violations"] == ["I1 lost: gone (chat chat)", "I10 weak: missed"]


def test_an_aim_that_was_missed_is_said() -> None:
    assert report.aims([RESULT]) == [
        "kill-worker: p50 7.00 s; the aim is 3 s", "kill-worker: p99 9.00 s; the aim is 6 s",
    ]  # fmt: skip
    assert report.summary([RESULT], seed=7)["aims_missed"] == report.aims([RESULT])


def test_the_table_has_a_line_for_each_fault() -> None:
    head, line = report.table([RESULT]).splitlines()
    assert len(head) == len(line)
    assert line.split()[:8] == ["kill-worker", "2", "0", "40", "1", "0", "0", "0"]


def test_what_the_fence_refused_is_shown() -> None:
    result = replace(RESULT, cost=replace(RESULT.cost, refused=17))
    assert report.table([result]).splitlines()[1].split()[-2] == "17"
    assert report.summary([result], seed=7)["faults"]["kill-worker"]["refused"] == 17


def test_runs_and_size_are_as_asked() -> None:
    assert options.parse(["--fault", "mixed", "--runs", "5"]).runs_of(FAULTS["mixed"]) == 5
    assert options.parse(["--full"]).runs_of(FAULTS["mixed"]) == FAULTS["mixed"].runs_in(Size.FULL)
    assert options.parse(["--short"]).faults == tuple(one for one in FAULTS.values() if one.runs_in(Size.SHORT))
    assert options.parse([]).faults == tuple(FAULTS.values())
    assert options.parse(["--seed", "4"]).seed == 4


@pytest.mark.parametrize("arguments", [["--fault", "rain"], ["--runs", "0"], ["--short", "--full"]])
def test_nonsense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(arguments)
