"""Devices that do not do what is asked of them; by default there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fanlight.simulation.population import Part


class Cheats:
    """Nobody cheats."""

    def data_of(self, device: int) -> Callable[[Part], Part] | None:
        """What a device makes of its examples before it learns; None: nothing."""
        del device
        return None

    def updates(
        self, round_number: int, honest: Mapping[int, NDArray[np.float64]]
    ) -> Mapping[int, NDArray[np.float64]]:
        """What the devices of a group send instead of what they have learned."""
        del round_number
        return honest

    def groups(self, devices: list[int]) -> list[list[int]]:
        """The devices of a round, those together that know of one another."""
        return [[device] for device in devices]
