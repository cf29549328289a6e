"""How the federation stands, read anew for each look at ``/metrics``: devices by state, rounds, the current model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fanlight.protocol.exchange import DECLINE_REASONS, OTHER_REASON
from fanlight.protocol.main_round import TERMINAL, State
from fanlight.services.main_server import round_table
from fanlight.services.main_server.overview import Overview
from fanlight.services.main_server.service import MainService
from fanlight.services.server.round_gauges import by_state, rounds_by_state


class Gauges(Collector):
    """Main's.

    Args:
        service, overview: what is looked at.
    """

    def __init__(self, service: MainService, overview: Overview) -> None:
        self._service = service
        self._overview = overview

    def collect(self) -> Iterable[Metric]:
        """All figures, for a registry."""
        yield from self._service.rounds.journal.collect()
        yield by_state("fanlight_devices", "Devices, by where they are.", self._overview.census())
        yield from self._rounds()
        seen = GaugeMetricFamily("fanlight_aggregator_connected", "Has the aggregator asked for orders a moment ago?")
        seen.add_metric([], self._service.aggregator_connected)
        yield seen

    def _rounds(self) -> Iterator[Metric]:
        with self._service.database.reading() as tx:
            line = round_table.latest_line(tx)
            counted = round_table.counts(tx)
            arrived = round_table.arrived(tx, line.mh) if line else 0
            version = self._service.models.current(tx).number
        yield from rounds_by_state(counted, TERMINAL, State, line.at if line else None)
        yield GaugeMetricFamily("fanlight_round", "The newest round's number.", line.number if line else 0)
        yield GaugeMetricFamily("fanlight_round_reports", "Receipts that have arrived for it.", arrived)
        declined = Counter(self._service.presence.declined(line.number).values() if line else ())
        refused = GaugeMetricFamily(
            "fanlight_round_declined", "Devices that do not take part in it, by reason.", labels=["reason"]
        )
        for reason in sorted((*DECLINE_REASONS, OTHER_REASON)):
            refused.add_metric([reason], declined[reason])
        yield refused
        needed = self._service.task.policy.k_min
        yield GaugeMetricFamily("fanlight_round_reports_needed", "Fewest reports in the next round.", needed)
        yield GaugeMetricFamily("fanlight_model_version", "The current model.", version)
        pause_s = self._service.pause_s
        yield GaugeMetricFamily("fanlight_device_pause_seconds", "Longest pause of idle devices.", pause_s)
