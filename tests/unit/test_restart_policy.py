"""When `./dev up` starts a dead child again, and when it gives up."""

from devtools.restart_policy import GiveUp, History, Restart, after_death


def decisions(*lives: tuple[float, bool], port_taken: bool = False) -> list[float | None]:
    """The delay after each life (seconds lived, was it up), None for giving up."""
    found: list[float | None] = []
    history = History()
    for lived, was_up in lives:
        history, decision = after_death(history, lived=lived, was_up=was_up, port_taken=port_taken)
        found.append(decision.after if isinstance(decision, Restart) else None)
    return found


def test_a_child_that_never_comes_up_gets_five_tries() -> None:
    assert decisions(*[(0.3, False)] * 5) == [0.2, 0.4, 0.8, 1.6, None]


def test_a_child_that_was_up_once_is_started_again_for_ever_with_bounded_delays() -> None:
    assert decisions((1.0, True), *[(0.3, False)] * 6) == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_life_starts_the_delays_over() -> None:
    assert decisions((0.3, True), (0.3, False), (60.0, True), (0.3, False)) == [0.2, 0.4, 0.2, 0.4]


def test_a_long_life_counts_as_having_been_up() -> None:
    assert decisions((60.0, False), *[(0.3, False)] * 6)[-1] == 5.0


def test_a_taken_port_ends_even_a_child_that_was_up() -> None:
    assert decisions((60.0, True), *[(0.3, False)] * 4, port_taken=True) == [0.2, 0.4, 0.8, 1.6, None]


def test_giving_up_is_a_decision_of_its_own() -> None:
    _, decision = after_death(History(early_deaths=4), lived=0.0, was_up=False)
    assert decision == GiveUp()
