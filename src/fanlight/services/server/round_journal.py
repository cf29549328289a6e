"""What happens to rounds, said once it is durable: as log lines, and as figures for ``/metrics``.

A line names the round, its state, the manifest's first digits (``mh``) and, where one is meant, the device's id.
Figures name no device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog
from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector

from fanlight.errors import NotAuthentic

_SHORT: Final = 12
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400)


class RoundJournal(Collector):
    """One server's.

    Args:
        monotonic: seconds that only grow, whatever is done to the clock on the wall.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._log = structlog.get_logger(__name__).bind()  # once: a logger that is not bound is made anew for each line
        self._since: tuple[int, float] | None = None
        self._phases = Histogram(
            "fanlight_round_phase_seconds",
            "How long rounds were in a state before they left it. A state during which the process was started again "
            "is left out.",
            ("phase",),
            buckets=_SECONDS,
            registry=None,
        )
        self._rejected = Counter(
            "fanlight_reports_rejected",
            "Reports that were not counted, by reason. The same one again adds to it only if no member has signed it, "
            "or if there is no such round.",
            ("reason",),
            registry=None,
        )
        self._taken = Counter(
            "fanlight_reports_taken", "Reports (at main: the aggregator's receipts for them) taken.", registry=None
        )
        self._taken_bytes = Counter("fanlight_reports_taken_bytes", "Their bytes.", registry=None)

    def collect(self) -> Iterable[Metric]:
        """All figures, for a registry."""
        for metric in (self._phases, self._rejected, self._taken, self._taken_bytes):
            yield from metric.collect()

    def moved(self, number: int, mh: bytes, before: str, after: str, **facts: object) -> None:
        """A round went from one state to another; ``before`` is empty for one that begins. The same again is no news.

        Args:
            number, mh: the round; ``mh`` may be empty.
            before, after: the states.
            facts: what else to say.
        """
        if before == after:
            return
        now, since = self._monotonic(), self._since
        self._since = (number, now)
        if since is not None and since[0] == number and before:
            seconds = now - since[1]
            self._phases.labels(before).observe(seconds)
            facts["seconds"] = round(seconds, 3)
        self._log.info("round moved", round=number, mh=_short(mh), state=after, before=before or None, **facts)

    def took(self, what: str, number: int, mh: bytes, device: bytes, size: int) -> None:
        """What a device sent is kept.

        Args:
            what: of which kind; begins the log line.
            number, mh: the round.
            device: its id.
            size: bytes.
        """
        self._taken.inc()
        self._taken_bytes.inc(size)
        self._log.info(what, round=number, mh=_short(mh), device=device.hex(), bytes=size)

    def rejected(self, number: int | None, mh: bytes, device: bytes, reason: str) -> None:
        """A report is not counted for ``reason``, a slug of ours; ``number`` is None for a round that there is not."""
        self._rejected.labels(reason).inc()
        self._log.warning("report rejected", round=number, mh=_short(mh), device=device.hex(), reason=reason)

    def rejected_unsigned(self) -> None:
        """A report is not counted that is not signed by a member as its own: no stranger can make us write a line."""
        self._rejected.labels(NotAuthentic.default_slug).inc()


def _short(mh: bytes) -> str:
    return mh.hex()[:_SHORT]
