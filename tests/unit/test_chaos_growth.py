"""What processes hold at rest: that it grows is found, that pools fill is not."""

from devtools.chaos.growth import Growth, Holding


def web(threads: int, pid: int = 7) -> list[Holding]:
    return [Holding("web", pid, {"threads": threads})]


def test_after_a_warm_up_growth_is_found_at_the_next_rest() -> None:
    growth = Growth()
    assert growth.look(web(10), is_warm=True) == []
    assert growth.look(web(30)) == []
    assert growth.look(web(31)) == ["web (pid 7) had 10 threads at rest and has 31"]


def test_without_one_a_process_has_two_rests_to_fill_its_pools() -> None:
    growth = Growth()
    assert growth.look(web(5)) == growth.look(web(30)) == growth.look(web(50)) == []
    assert growth.look(web(51)) == ["web (pid 7) had 30 threads at rest and has 51"]


def test_growth_by_little_at_each_rest_is_found_in_the_end() -> None:
    growth = Growth()
    growth.look(web(10), is_warm=True)
    assert [len(growth.look(web(threads))) for threads in (18, 26, 34)] == [0, 0, 1]


def test_the_successor_of_a_killed_process_is_compared_with_it_and_its_own_start_is_no_measure() -> None:
    growth = Growth()
    growth.look(web(30), is_warm=True)
    assert growth.look(web(5, pid=8)) == growth.look(web(50, pid=8)) == []
    assert growth.look(web(51, pid=9)) == ["web (pid 9) had 30 threads at rest and has 51"]


def test_the_least_that_was_ever_held_is_the_measure() -> None:
    growth = Growth()
    growth.look(web(30), is_warm=True)
    growth.look(web(10))
    assert growth.look(web(31)) == ["web (pid 7) had 10 threads at rest and has 31"]


def test_a_chat_worker_may_fill_its_pool_and_no_more() -> None:
    from django.conf import settings

    growth = Growth()
    growth.look([Holding("chat-worker-1", 7, {"threads": 22})], is_warm=True)
    assert growth.look([Holding("chat-worker-1", 7, {"threads": 22 + settings.CHATD_WORKER_SLOTS})]) == []
    assert growth.look([Holding("chat-worker-1", 7, {"threads": 23 + settings.CHATD_WORKER_SLOTS})]) != []
