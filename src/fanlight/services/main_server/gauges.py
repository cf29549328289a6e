"""How the federation stands, read anew for each look at ``/metrics``: devices by state, rounds, the current model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from fanlight.protocol.main_round import TERMINAL, State
from fanlight.services.main_server import round_table
from fanlight.services.main_server.overview import Overview
from fanlight.services.main_server.service import MainService
from fanlight.storage.tables.main import rounds


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
        yield _by("fanlight_devices", "Devices, by where they are.", self._overview.census())
        yield from self._rounds()
        seen = GaugeMetricFamily("fanlight_aggregator_connected", "Has the aggregator asked for orders a moment ago?")
        seen.add_metric([], self._service.aggregator_connected)
        yield seen

    def _rounds(self) -> Iterator[Metric]:
        with self._service.database.transaction() as tx:
            line = round_table.latest_line(tx)
            found = select(rounds.c.state, func.count()).group_by(rounds.c.state)
            counted = {str(row[0]): int(row[1]) for row in tx.execute(found)}
            arrived = round_table.arrived(tx, line.mh) if line else 0
            version = self._service.models.current(tx).number
        total = CounterMetricFamily("fanlight_rounds", "Rounds that came to this end.", labels=["state"])
        for state in sorted(TERMINAL):
            total.add_metric([state.value], counted.get(state, 0))
        yield total
        now = {state.value: int(line is not None and line.at is state) for state in State}
        yield _by("fanlight_round_state", "1 for the state that the newest round is in.", now)
        yield GaugeMetricFamily("fanlight_round", "The newest round's number.", line.number if line else 0)
        yield GaugeMetricFamily("fanlight_round_reports", "Receipts that have arrived for it.", arrived)
        needed = self._service.task.policy.k_min
        yield GaugeMetricFamily("fanlight_round_reports_needed", "Fewest reports in the next round.", needed)
        yield GaugeMetricFamily("fanlight_model_version", "The current model.", version)
        pause_s = self._service.pause_s
        yield GaugeMetricFamily("fanlight_device_pause_seconds", "Longest pause of idle devices.", pause_s)


def _by(name: str, about: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family
