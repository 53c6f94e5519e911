"""The figures of `./dev bench retention`, from turns that are made up."""

from devtools.bench.retention.figures import table, turns


def test_ratios_compare_neighbours_and_take_the_median_round() -> None:
    quiet = [[0.010] * 50, [0.020] * 50, [0.010] * 50]
    purging = [[0.012] * 50, [0.030] * 50, [0.100] * 50]
    found = turns(quiet, purging)
    assert (found["ratio_p50"], found["ratio_p95"]) == (1.5, 1.5)
    assert found["quiet"] == {"p50_ms": 10.0, "p95_ms": 20.0, "turns": 150}


def test_the_table_shows_plans_figures_and_aims() -> None:
    found = {
        "chats": 1000, "messages": 10_000, "load_before": 0.1, "seed_s": 1.5, "archive_per_s": 2500,
        "purge_per_s": 1100, "purge_messages_per_s": 11_000, "purge_beside_turns_per_s": 900,
        "candidates": {"archive candidates": {"ms": 3.2, "found": 7, "plans": [["Limit", "  ->  Index Scan"]]}},
        "turns": turns([[0.01, 0.02]], [[0.01, 0.03]]),
    }  # fmt: skip
    shown = table(found)
    for words in ("->  Index Scan", "archive candidates, ms (7 found)", ">= 2000", "<= 1.5", "load before: 0.1"):
        assert words in shown
    missed = table({**found, "archive_per_s": 1999.0, "turns": turns([[0.01, 0.02]], [[0.02, 0.04]])})
    assert [line.split()[0] for line in shown.splitlines() if "missed" in line] == []
    assert [line.split()[0] for line in missed.splitlines() if "missed" in line] == ["archive,", "ratio", "ratio"]
