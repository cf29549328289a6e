"""How fast devices are: three classes of hardware and lines, and chance from round to round.

``speeds:fast=0.2,middle=0.5,slow=0.3,jitter=0.3``: shares of the devices, which are dealt out by lot and add up to 1;
``speeds:mixed`` is a third each. Without the term all are ``middle``. ``jitter`` is the standard deviation of the
logarithm of a factor on a device's seconds, drawn anew in each round (log-normal, as device traces have it: FedScale,
Lai et al. 2105.11367).

Rates are orders of magnitude: training a head on cached features; lines of a home.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.terms import Term
from fanlight.simulation.seeds import chance

Seconds = NDArray[np.float64]
_EXAMPLE: Final = "speeds:fast=0.2,middle=0.5,slow=0.3"


@dataclass(frozen=True)
class HardwareClass:
    """Some kind of device.

    Attributes:
        examples_per_s: that it trains on, counted in each epoch.
        down_bytes_per_s, up_bytes_per_s: of its line.
    """

    examples_per_s: float
    down_bytes_per_s: float
    up_bytes_per_s: float


CLASSES: Final[Mapping[str, HardwareClass]] = MappingProxyType(
    {
        "fast": HardwareClass(10_000.0, 10e6, 4e6),
        "middle": HardwareClass(2_000.0, 2.5e6, 1e6),
        "slow": HardwareClass(200.0, 0.25e6, 0.1e6),
    }
)


@dataclass(frozen=True)
class Work:
    """What a round asks of each device.

    Attributes:
        examples: (devices,) that it trains on, times epochs.
        bytes_down, bytes_up: the model, and the report.
    """

    examples: NDArray[np.float64]
    bytes_down: float
    bytes_up: float


@dataclass(frozen=True)
class Hardware:
    """The devices' own.

    Attributes:
        names: (devices,) of the class of each.
        jitter: see the module.
        seed: of what is drawn.
    """

    names: tuple[str, ...]
    jitter: float
    seed: int

    @functools.cached_property
    def _rates(self) -> NDArray[np.float64]:
        """(3, devices), see ``HardwareClass``."""
        rates = {name: astuple(kind) for name, kind in CLASSES.items()}
        return np.array([rates[name] for name in self.names]).T

    def seconds(self, work: Work, round_number: int) -> Seconds:
        """(devices,) what the work of a round takes each."""
        training, down, up = self._rates
        seconds: Seconds = work.bytes_down / down + work.examples / training + work.bytes_up / up
        if self.jitter:
            normals = chance(self.seed, f"world/jitter/{round_number}").normals(len(self.names))
            seconds *= np.exp(self.jitter * normals)
        return seconds


def hardware_of(term: Term | None, devices: int, seed: int) -> Hardware:
    """Who has what.

    Raises:
        SettingsError: unknown classes, or shares that do not add up to 1.
    """
    if term is None:
        return Hardware(("middle",) * devices, 0.0, seed)
    term.takes(_EXAMPLE, *CLASSES, "jitter", value=True)
    shares = {name: term.of(name, _EXAMPLE, low=0, high=1, default=0.0) for name in CLASSES}
    if term.value == "mixed" and not any(shares.values()):
        shares = dict.fromkeys(CLASSES, 1.0 / len(CLASSES))
    elif term.value or not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise term.flaw("takes the word mixed, or shares that add up to 1", f"speeds:mixed or {_EXAMPLE}")
    borders = np.rint(np.cumsum(list(shares.values())) * devices).astype(int)
    sorted_names = np.repeat(list(CLASSES), np.diff(borders, prepend=0))
    names = chance(seed, "world/hardware").shuffled(sorted_names)
    return Hardware(tuple(names.tolist()), term.of("jitter", _EXAMPLE, low=0, high=3, default=0.0), seed)
