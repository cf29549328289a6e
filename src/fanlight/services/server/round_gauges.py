"""What both servers show of rounds in ``/metrics``, read anew for each look."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def rounds_by_state(
    counted: Mapping[str, int], ends: Collection[StrEnum], states: type[StrEnum], newest: StrEnum | None
) -> Iterator[Metric]:
    """How many rounds came to which end, and in which state the newest one is.

    Args:
        counted: rounds by state.
        ends: the states after which nothing follows.
        states: all there are.
        newest: that of the newest round; None before the first.
    """
    total = CounterMetricFamily("fanlight_rounds", "Rounds that came to this end.", labels=["state"])
    for state in sorted(ends):
        total.add_metric([state.value], counted.get(state.value, 0))
    yield total
    now = {state.value: int(newest is state) for state in states}
    yield by_state("fanlight_round_state", "1 for the state that the newest round is in.", now)


def by_state(name: str, about: str, values: Mapping[str, int]) -> Metric:
    """One figure for each state."""
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family
