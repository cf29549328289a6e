"""Waits between attempts: bounded, spread, and never before the moment that a server named."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fanlight.services.device import knocks
from fanlight.services.http.backoff import LONGEST_TOLD_S, Backoff
from fanlight.services.main_server.pace import pause_s

chances = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0.001, 3600)


@given(chances, seconds, seconds, st.integers(0, 40), st.integers(1, 80))
def test_a_wait_is_below_its_bound_which_doubles_in_time(
    chance: float, first_s: float, longest_s: float, steady: int, failures: int
) -> None:
    backoff = Backoff(lambda: chance, first_s, longest_s, steady)
    waits = [backoff.next() for _ in range(failures)]
    for number, wait_s in enumerate(waits):
        assert 0 <= wait_s <= min(longest_s, first_s * 2.0 ** max(0, number - steady))
    backoff.reset()
    assert backoff.next() == waits[0]


@given(chances, seconds, st.integers(0, 80))
def test_a_smaller_bound_holds_this_time_and_the_usual_one_next_time(
    chance: float, longest_s: float, failures: int
) -> None:
    backoff, usual = (Backoff(lambda: chance, failures=failures) for _ in range(2))
    assert backoff.next(longest_s=longest_s) == min(chance * longest_s, usual.next())
    assert backoff.next() == usual.next()


@given(chances, st.integers(0, 200))
def test_whom_a_round_waits_for_knocks_every_few_seconds_however_long_nobody_answers(
    chance: float, failures: int
) -> None:
    waits = [
        Backoff(lambda: chance, 0.6, knocks.LONGEST_S, failures=failures).next(
            longest_s=knocks.longest_s(awaited=awaited, pause_s=None)
        )
        for awaited in (True, False)
    ]
    assert waits[0] <= knocks.AWAITED_S
    assert waits[0] <= waits[1] <= knocks.LONGEST_S


@given(st.integers(0, 1_000_000), st.integers(1, 10_000))
def test_many_that_are_awaited_knock_no_more_often_than_main_can_bear(devices: int, polls_per_second: int) -> None:
    """Each waits for half its bound on average; beyond the longest bound, what they were told no longer says."""
    bound = knocks.longest_s(awaited=True, pause_s=pause_s(devices, polls_per_second))
    assert knocks.AWAITED_S <= bound <= knocks.LONGEST_S
    assert bound == knocks.LONGEST_S or devices / (bound / 2) <= 5 * polls_per_second


@given(chances, st.floats(0, 1e9), st.integers(0, 40))
def test_nobody_comes_back_before_it_was_told_to(chance: float, told_s: float, failures: int) -> None:
    backoff = Backoff(lambda: chance, failures=failures)
    wait_s, kept_s = backoff.next(told_s), min(told_s, LONGEST_TOLD_S)
    assert kept_s <= wait_s <= kept_s + max(backoff.longest_s, kept_s / 2)


@given(st.integers(0, 1 << 32), st.sampled_from([None, 1.0, 60.0]))
def test_those_that_failed_together_do_not_come_back_together(seed: int, told_s: float | None) -> None:
    """Of 1,000 that fail for the sixth time, no tenth of the time has more than twice its share."""
    chance = random.Random(seed)
    waits = [Backoff(chance.random, failures=5).next(told_s) for _ in range(1000)]
    low, high = min(waits), max(waits)
    share = [0] * 10
    for wait_s in waits:
        share[min(9, int(10 * (wait_s - low) / (high - low)))] += 1
    assert max(share) < 200
    assert high - low > 10
