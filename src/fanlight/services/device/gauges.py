"""How a device stands, read anew for each look at ``/metrics``. No picture, label or accuracy is among it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fanlight.protocol.device_round import Preparation
from fanlight.services.device.role import DeviceRole


class Gauges(Collector):
    """A device's.

    Args:
        role: which is looked at.
    """

    def __init__(self, role: DeviceRole) -> None:
        self._role = role

    def collect(self) -> Iterable[Metric]:
        """All figures, for a registry."""
        role = self._role
        sent = CounterMetricFamily("fanlight_remote_sent_bytes", "Bytes of bodies sent to a server.", labels=["server"])
        received = CounterMetricFamily("fanlight_remote_received_bytes", "Bytes of its answers.", labels=["server"])
        enrolled = GaugeMetricFamily("fanlight_enrolled", "Is this device a member at the server?", labels=["server"])
        for name, server in role.membership.servers.items():
            sent.add_metric([name], server.remote.sent_bytes)
            received.add_metric([name], server.remote.received_bytes)
            enrolled.add_metric([name], role.membership.is_enrolled(name))
        yield from (sent, received, enrolled)
        now = GaugeMetricFamily("fanlight_preparation", "1 for how far this device is.", labels=["state"])
        for state in Preparation:
            now.add_metric([state.value], role.offers.preparation is state)
        yield now
        held = role.store.held
        yield GaugeMetricFamily("fanlight_model_version", "The current model.", held.version if held else 0)
        yield CounterMetricFamily("fanlight_reports_committed", "Reports made here.", role.store.past.count_reports())
        refused = CounterMetricFamily("fanlight_rounds_refused", "Rounds not answered, by reason.", labels=["reason"])
        for reason, count in role.store.refusals.counts().items():
            refused.add_metric([reason], count)
        yield refused
        yield GaugeMetricFamily("fanlight_trouble", "Is something wrong now?", role.agent.trouble is not None)
