"""What time it is where a round's window is counted: at the aggregator, whose clock a device does not see.

A device goes by its own clock until that would have it refuse a manifest. Then it asks the aggregator, once for each
manifest, and goes by its word from then on: its own clock may be ahead, and the aggregator's may have been set back,
by more than a window lasts. The main server's time never counts, so it cannot talk a device into an old manifest.
What the aggregator tells goes into no signature: it is not signed, and who sits on a line without TLS can forge it.
A device that is told too early a time sends a report that the aggregator refuses (``report-late``).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from fanlight.protocol.manifest import SignedManifest
from fanlight.services.device.client import AggregatorClient

log = structlog.get_logger(__name__)

_NOTABLE_S = 2.0
"""A ``Date`` has whole seconds, and takes a moment to arrive."""


class WindowTime:
    """The aggregator's time, as far as this device knows it. Call it for unix seconds.

    Args:
        aggregator: is asked.
        clock: this device's own, unix seconds.
    """

    def __init__(self, aggregator: AggregatorClient, clock: Callable[[], float]) -> None:
        self._aggregator = aggregator
        self._clock = clock
        self._told_s: float | None = None  # how far the aggregator's clock is ahead of this one
        self._asked_about: bytes | None = None

    def __call__(self) -> int:
        """Unix seconds."""
        ahead_s = self._aggregator.remote.auth.clock_offset_s if self._told_s is None else self._told_s
        return int(self._clock() + ahead_s)

    def settle(self, signed: SignedManifest) -> None:
        """Ask for the time if this manifest's window seems to have passed, unless that was done about it before.

        Raises:
            RemoteError: the aggregator does not answer; nothing is known of the window then.
        """
        if signed.hash == self._asked_about or self() < signed.terms.closes_at:
            return
        self._told_s = self._aggregator.time() - self._clock()
        self._asked_about = signed.hash
        if abs(self._told_s) >= _NOTABLE_S:
            log.warning("rounds are timed by the aggregator's clock, which differs from this one", seconds=self._told_s)
