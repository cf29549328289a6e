"""How the aggregator stands, read anew for each look at ``/metrics``: members, rounds, what it holds, main."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fanlight.protocol.aggregator_round import TERMINAL, State
from fanlight.services.aggregator import held_reports, round_table
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.server.round_gauges import by_state, rounds_by_state


class Gauges(Collector):
    """The aggregator's.

    Args:
        service: what is looked at.
    """

    def __init__(self, service: AggregatorService) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """All figures, for a registry."""
        rounds = self._service.rounds
        yield from rounds.journal.collect()
        enrolled, members = len(self._service.membership.public_keys()), len(self._service.reception.confirmed)
        devices = {"member": members, "waiting": max(0, enrolled - members)}
        yield by_state("fanlight_devices", "Devices, by what they are.", devices)
        with self._service.database.reading() as tx:
            counted, stored = round_table.counts(tx), round_table.latest(tx)
            here = held_reports.count(tx, stored.record.mh) if stored else 0
        yield from rounds_by_state(counted, TERMINAL, State, stored.record.at if stored else None)
        yield GaugeMetricFamily("fanlight_round", "The newest round's number.", stored.record.number if stored else 0)
        yield GaugeMetricFamily("fanlight_round_reports", "Reports taken for it.", here)
        well = not self._service.why_without_main()
        yield GaugeMetricFamily("fanlight_main_reachable", "Can main's orders be followed?", float(well))
