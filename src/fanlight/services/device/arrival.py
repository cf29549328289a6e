"""What is said of the model that came last: is it better here than the one before, or did the operator go back?"""

from __future__ import annotations

from typing import Final

from fanlight.core.metrics import Metrics
from fanlight.core.percent import percent
from fanlight.protocol.device import needs_training
from fanlight.services.device.learned import Earlier, Held, Learned, StoredCounts
from fanlight.services.device.role import DeviceRole

_LOOK_BACK: Final = 10
"""Rounds among which the last one with training is looked for; the others only measured."""


def is_awaited(role: DeviceRole) -> bool:
    """Is the sum of a round with this device known, and its version not published yet? What is trained now is lost."""
    held, before = role.store.held, _last_counted(role)
    if held is None or before is None or role.offers.manifest is not None:
        return False
    return before.model_version == held.version


def went_back(held: Held | None) -> bool:
    """Did the operator go back from a later version to the one that is here?"""
    return bool(held and held.before and held.version < held.before.version)


def about_arrival(role: DeviceRole) -> tuple[str, str] | None:
    """Title and text about the version that came last: how good it is here; None while the first one is here."""
    held = role.store.held
    if held is None or held.before is None or held.version == held.before.version:
        return None
    return _gone_back(held, held.before) if went_back(held) else _come(held, held.before)


def how_good(role: DeviceRole) -> str:
    """How good the model of all devices is here, in a sentence; and this device's own, where it goes on from that."""
    held, prepared = role.store.held, role.offers.prepared
    if held is None:
        return "Waiting for the first model."
    shared = _metrics(held.measured)
    if shared is None:
        return f"Version {held.version} is here, and not measured yet."
    own = _metrics(prepared.local) if prepared else None
    came = None if own or went_back(held) else about_arrival(role)
    if came:
        return came[0]
    more = f"; this device's own model, {percent(own.accuracy)}" if own else ""
    return f"Version {held.version} names {percent(shared.accuracy)} of {test_pictures(shared, shared)} rightly{more}."


def test_pictures(before: Metrics, after: Metrics) -> str:
    """Those on which two figures were found; how many they are, if both are of the same."""
    return f"your {after.total} test pictures" if after.total == before.total > 1 else "your test pictures"


def _gone_back(held: Held, later: Earlier) -> tuple[str, str]:
    old, new = _metrics(later.measured), _metrics(held.measured)
    known = ""
    if old and new:
        known = (
            f" Version {held.version} names {percent(new.accuracy)} of your test pictures rightly,"
            f" version {later.version} named {percent(old.accuracy)}."
        )
    why = "Whoever runs the main server decides which version all devices use."
    title = f"The operator went back to version {held.version}."
    return title, f"{why}{known} What you train now builds on version {held.version}."


def _come(held: Held, before: Earlier) -> tuple[str, str]:
    again = "Train again, with new pictures if you have some: the next version learns from them too."
    here, old, new = f"Version {held.version} is here", _metrics(before.measured), _metrics(held.measured)
    if old is None or new is None:
        return f"{here}.", f"How good it is on your pictures is not known yet. {again}"
    pictures = test_pictures(old, new)
    if new.accuracy == old.accuracy:
        return f"{here}: {percent(new.accuracy)} on {pictures}, as before.", again
    change = f"{here}: from {percent(old.accuracy)} to {percent(new.accuracy)} on {pictures}."
    if (new.accuracy or 0.0) > (old.accuracy or 0.0):
        return change, f"It is better than version {before.version}. {again}"
    back = "Only the main server's operator can go back to an earlier version."
    return change, f"On your pictures it is worse than version {before.version}. {again} {back}"


def _last_counted(role: DeviceRole) -> Learned | None:
    """What this device had learned when it reported in the last round with training; None if that did not count."""
    rounds = [line for line in role.store.past.rounds(_LOOK_BACK) if needs_training(line.kind)]
    return rounds[-1].learned if rounds and rounds[-1].included else None


def _metrics(counts: StoredCounts | None) -> Metrics | None:
    """On this device's test pictures; None if nothing was measured."""
    return counts.metrics if counts and counts.metrics.total else None
