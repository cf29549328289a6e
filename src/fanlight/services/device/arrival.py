"""What is said of the version that this device's last report helped to make: is it better here than the one before?"""

from __future__ import annotations

from typing import Final

from fanlight.core.percent import percent
from fanlight.protocol.device import needs_training
from fanlight.services.device.learned import Learned, StoredCounts
from fanlight.services.device.role import DeviceRole

_LOOK_BACK: Final = 10
"""Rounds among which the last one with training is looked for; the others only measured."""


def is_awaited(role: DeviceRole) -> bool:
    """Is the sum of a round with this device known, and its version not published yet? What is trained now is lost."""
    held, before = role.store.held, _last_counted(role)
    if held is None or before is None or role.offers.manifest is not None:
        return False
    return before.model_version == held.version


def about_newer_version(role: DeviceRole) -> tuple[str, str] | None:
    """Title and text: how good it is here, and what to do next; None as long as none came."""
    held, before = role.store.held, _last_counted(role)
    if held is None or before is None or before.model_version is None or held.version <= before.model_version:
        return None
    again = "Train again, with new pictures if you have some: the next version learns from them too."
    old, new = _accuracy(before.received), _accuracy(held.measured)
    here = f"Version {held.version} is here"
    if old is None or new is None:
        return f"{here}, with what your pictures taught it.", f"How good it is on your pictures is not known. {again}"
    if new > old:
        return f"{here}, and it is better.", f"{_right(new)}, before {percent(old)}. {again}"
    if new == old:
        return f"{here}, as good as the one before.", f"{_right(new)}. {again}"
    back = "Only the main server's operator can go back to an earlier version."
    return f"{here}, but on your pictures it is worse.", f"{_right(new)}, before {percent(old)}. {again} {back}"


def _last_counted(role: DeviceRole) -> Learned | None:
    """What this device had learned when it reported in the last round with training; None if that did not count."""
    rounds = [line for line in role.store.rounds(_LOOK_BACK) if needs_training(line.kind)]
    return rounds[-1].learned if rounds and rounds[-1].included else None


def _accuracy(counts: StoredCounts | None) -> float | None:
    """The share of this device's test pictures that are named rightly; None if nothing was measured."""
    return counts.metrics.accuracy if counts and counts.metrics.total else None


def _right(share: float) -> str:
    return f"It names {percent(share)} of your test pictures rightly"
