"""Which devices are there, and which of them will not report in the open round.

Kept in memory: after a restart, devices ask for an offer anew, and say so again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fanlight.services.main_server.pace import LONGEST_OFFER_WAIT_S

PRESENT_S: Final = LONGEST_OFFER_WAIT_S + 5.0
"""A device that has not asked for this long, and was not told to pause, is away."""


class Presence:
    """When each device was last heard of, and who will not report.

    Args:
        clock: unix seconds.
        pause_s: for how long devices may pause between two offers, in seconds.
    """

    def __init__(self, clock: Callable[[], float], pause_s: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self._seen: dict[bytes, float] = {}
        self._models: dict[bytes, bytes] = {}
        self._declined: dict[bytes, dict[bytes, str]] = {}

    def see(self, device: bytes) -> bool:
        """Note that a device is there; was it away before?"""
        was_away = not self.is_present(device)
        self._seen[device] = self._clock()
        return was_away

    def lose(self, device: bytes, since: float) -> None:
        """The connection broke on which the device waited from ``since`` on: it is away, unless heard of later."""
        if self._seen.get(device, 0.0) <= since:
            self._seen.pop(device, None)

    def forget(self, device: bytes) -> None:
        """The device has left."""
        self._seen.pop(device, None)
        self._models.pop(device, None)

    def is_present(self, device: bytes) -> bool:
        """Was the device heard of in the last ``PRESENT_S`` seconds, or in so many after its pause?"""
        return self._clock() - self._seen.get(device, float("-inf")) < PRESENT_S + self._pause_s()

    def holds(self, device: bytes, model: bytes) -> bool:
        """Note the model that the device says it has; did it not say so before?"""
        before = self._models.get(device)
        self._models[device] = model
        return before != model

    def decline(self, device: bytes, mh: bytes, reason: str) -> None:
        """The device will not report in the round with this manifest, for ``reason`` (a slug)."""
        if mh not in self._declined:
            self._declined = {mh: {}}  # those of earlier rounds are of no use any more
        self._declined[mh][device] = reason

    def declined(self, mh: bytes) -> Mapping[bytes, str]:
        """The devices that have said they will not report in this round, and why."""
        return self._declined.get(mh, {})
