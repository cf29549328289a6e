"""The pace of devices that have nothing to do: none for few, and for many what keeps the server's load as wanted."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fanlight.protocol.exchange import LONGEST_PAUSE_S
from fanlight.services.main_server.pace import LONGEST_OFFER_WAIT_S, between_polls_s, pause_s

rates = st.integers(1, 100_000)


@given(st.integers(0, 1_000_000), rates)
def test_a_pause_is_none_for_few_devices_and_never_too_long(devices: int, rate: int) -> None:
    pause = pause_s(devices, rate)
    assert 0 <= pause <= LONGEST_PAUSE_S
    assert (pause == 0) == (devices <= rate * LONGEST_OFFER_WAIT_S)
    assert pause <= pause_s(devices + 1, rate)


@given(st.integers(0, 1_000_000), rates)
def test_polls_are_no_more_than_wanted(devices: int, rate: int) -> None:
    pause = pause_s(devices, rate)
    if pause < LONGEST_PAUSE_S:
        assert devices / between_polls_s(pause) <= rate * 1.000001


@given(st.integers(0, 1 << 32), st.sampled_from([3_000, 5_000, 20_000]))
def test_devices_that_were_woken_together_come_back_apart(seed: int, devices: int) -> None:
    """In no second do more than a sixth more of them come back than if they were lined up."""
    chance, pause = random.Random(seed), pause_s(devices, 200)
    arrivals = [0] * pause
    for _ in range(devices):
        arrivals[int(chance.random() * pause)] += 1
    even = devices / pause
    assert max(arrivals) < even + 6 * even**0.5
