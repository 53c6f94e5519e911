"""The fault suite's schedule is a function of the seed."""

from collections import Counter
from collections.abc import Callable

import pytest

from devtools.chaos.faults import FAULTS, Fault, Size
from devtools.chaos.schedule import MOST_VARIANTS, Strike, schedule
from devtools.chaos.strikes import BLOWS
from devtools.chaos.strikes.inside import CLOCK_SHIFTS, MODES, PROCESSES, mode_of, process_of, shift_of

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def whole(one: Strike) -> list[Strike]:
    return [one, *one.together]


@every_fault
def test_a_seed_gives_the_same_schedule_each_time(fault: Fault) -> None:
    assert schedule(fault, 20, seed=7) == schedule(fault, 20, seed=7)


@every_fault
def test_another_seed_gives_another_schedule(fault: Fault) -> None:
    assert schedule(fault, 20, seed=7) != schedule(fault, 20, seed=8)


@every_fault
def test_a_longer_run_begins_as_the_shorter_one(fault: Fault) -> None:
    assert schedule(fault, 20, seed=7)[:5] == schedule(fault, 5, seed=7)


@every_fault
def test_pauses_and_lengths_are_those_of_the_fault(fault: Fault) -> None:
    for long, (least, most) in ((False, fault.lasts), (True, fault.lasts_in_full)):
        for one in schedule(fault, 50, seed=1, long=long):
            assert fault.apart[0] <= one.after <= fault.apart[1]
            assert all(least <= part.lasts <= most and 0 <= part.pick < 1 for part in whole(one))


@pytest.mark.parametrize(
    ("name", "variant_of", "variants"),
    [
        ("clock-shift", shift_of, CLOCK_SHIFTS),
        ("clock-shift-kill", shift_of, CLOCK_SHIFTS),
        ("network-postgres", mode_of, tuple(MODES)),
        ("network-redis", mode_of, tuple(MODES)),
        ("commits-in-doubt", process_of, PROCESSES),
    ],
)
def test_a_full_run_strikes_in_each_way_as_often_as_it_can(
    name: str, variant_of: Callable[[Strike], object], variants: tuple[object, ...]
) -> None:
    runs = FAULTS[name].runs_in(Size.FULL)
    for seed in range(20):
        struck = Counter(variant_of(one) for one in schedule(FAULTS[name], runs, seed))
        for variant, share in Counter(variants).items():
            assert abs(struck[variant] - runs * share / len(variants)) < 1


def test_each_way_of_striking_is_the_first_of_some_seed() -> None:
    firsts = {shift_of(schedule(FAULTS["clock-shift"], 1, seed)[0]) for seed in range(100)}
    assert firsts == set(CLOCK_SHIFTS)
    assert all(MOST_VARIANTS % len(variants) == 0 for variants in (CLOCK_SHIFTS, MODES, PROCESSES))


@every_fault
def test_somebody_can_strike_every_blow(fault: Fault) -> None:
    assert {part.what for one in schedule(fault, 200, seed=1) for part in whole(one)} <= BLOWS.keys()


def test_a_mixed_blow_is_three_different_ones_and_all_of_them_occur() -> None:
    mixed = FAULTS["mixed"]
    struck = [[part.what for part in whole(one)] for one in schedule(mixed, 200, seed=1)]
    assert all(len(set(names)) == 3 for names in struck)
    assert {name for names in struck for name in names} == set(mixed.drawn_from)


@every_fault
def test_a_full_run_is_no_shorter_than_the_others(fault: Fault) -> None:
    short, default, full = (fault.runs_in(size) for size in Size)
    assert 0 <= short <= default <= full
    assert default > 0


def test_whoever_is_frozen_is_frozen_for_longer_than_a_lease_lasts() -> None:
    for name in ("sigstop", "blocked-interpreter", "blocked-loop"):
        fault = FAULTS[name]
        assert min(fault.lasts[0], fault.lasts_in_full[0]) > fault.profile.lease_ttl
