"""Which devices are there, and which of them will not report in the open round.

Kept in memory: after a restart, devices ask for an offer anew, and say so again. Until they have had the time to, those
that nobody has heard of yet may be there, and are waited for as if they were.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from fanlight.services.main_server.pace import LONGEST_OFFER_WAIT_S

PRESENT_S: Final = LONGEST_OFFER_WAIT_S + 5.0
"""A device that has not asked for this long, and was not told to pause, is away."""
_NOBODY: Final[Mapping[bytes, str]] = MappingProxyType({})


class Presence:
    """When each device was last heard of, and who will not report.

    Args:
        monotonic: seconds that only grow; steps of the clock on the wall make nobody away.
        pause_s: for how long devices may pause between two offers, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float], pause_s: Callable[[], float] = lambda: 0.0) -> None:
        self._monotonic = monotonic
        self._pause_s = pause_s
        self._started = monotonic()
        self._seen: dict[bytes, float] = {}
        self._models: dict[bytes, bytes] = {}
        self._declining = threading.Lock()
        self._declined_in = 0
        self._declined = _NOBODY

    def see(self, device: bytes) -> bool:
        """Note that a device is there; was it away before?"""
        was_away = not self.is_present(device)
        self._seen[device] = self._monotonic()
        return was_away

    def lose(self, device: bytes, since: float) -> None:
        """The connection broke on which the device waited from ``since`` on: it is away, unless heard of later."""
        if self._seen.get(device, -math.inf) <= since:
            self._seen[device] = -math.inf

    def forget(self, device: bytes) -> None:
        """The device has left."""
        self._seen.pop(device, None)
        self._models.pop(device, None)

    def is_present(self, device: bytes) -> bool:
        """Was the device heard of in the last ``PRESENT_S`` seconds, or in so many after its pause?"""
        return self._is_recent(self._seen.get(device, -math.inf))

    def may_be_present(self, device: bytes) -> bool:
        """Is it present, or has it not had the time yet to ask since this server was started?"""
        return self._is_recent(self._seen.get(device, self._started))

    def changes_in_s(self) -> float:
        """In how many seconds the next device counts as away if nobody is heard of till then; infinite without any."""
        now, lasts = self._monotonic(), PRESENT_S + self._pause_s()
        left = (seen + lasts - now for seen in (self._started, *self._seen.copy().values()))
        return min((seconds for seconds in left if seconds > 0), default=math.inf)

    def has_said(self, device: bytes, model: bytes) -> bool:
        """Is this the model that the device was last noted to have?"""
        return self._models.get(device) == model

    def note_model(self, device: bytes, model: bytes) -> None:
        """The device has said that it has this model, and that is dealt with."""
        self._models[device] = model

    def decline(self, device: bytes, number: int, reason: str) -> None:
        """The device will not report in this round, for ``reason`` (a slug); of an earlier one it is not kept."""
        with self._declining:
            if number < self._declined_in:
                return
            before = self._declined if number == self._declined_in else _NOBODY
            self._declined_in, self._declined = number, MappingProxyType({**before, device: reason})

    def declined(self, number: int) -> Mapping[bytes, str]:
        """The devices that have said they will not report in this round, and why; does not change any more."""
        with self._declining:
            return self._declined if number == self._declined_in else _NOBODY

    def _is_recent(self, seen: float) -> bool:
        return self._monotonic() - seen < PRESENT_S + self._pause_s()
