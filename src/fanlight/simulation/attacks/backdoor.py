"""Backdoor: pictures with a mark are called one class; all others are learned as they should be.

A share of an attacker's pictures gets a chequered square in the lower right corner, before features are computed, and
the label ``target`` (BadNets: Gu et al. 1708.06733). With a factor above 1 its update is sent so many times over (model
replacement: Bagdasaryan et al. 1807.00459). The success of a backdoor is the share of marked test pictures of other
classes that are taken for the target.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.simulation.attacks.attack import Attack, AttackRecipe, Trigger, honest
from fanlight.simulation.attacks.scaling import scaling

_SQUARES: Final = 4
"""A side of the mark has so many squares, where it has so many pixels."""


def backdoor(target: float = 0.0, rate: float = 0.5, side: float = 15.0, factor: float = 1.0) -> Attack:
    """The attack.

    Args:
        target: number of the class.
        rate: share of an attacker's pictures that get the mark, 0 to 1.
        side: of the mark, in percent of the picture's shorter one.
        factor: see the module.
    """
    return Attack(honest if factor == 1.0 else scaling(factor).craft, trigger=Trigger(side, int(target), rate))


def stamped(picture: NDArray[np.uint8], side: float) -> NDArray[np.uint8]:
    """A copy of a picture, (h, w) or (h, w, 3), with the mark; ``side`` in percent of the shorter side."""
    pixels = max(2, round(min(picture.shape[:2]) * side / 100.0))
    places = np.arange(pixels) * _SQUARES // pixels if pixels >= _SQUARES else np.arange(pixels)
    white = (places[:, None] + places[None, :]) % 2 == 0
    marked = picture.copy()
    marked[-pixels:, -pixels:] = np.where(white, 255, 0).reshape(pixels, pixels, *[1] * (picture.ndim - 2))
    return marked


RECIPE = AttackRecipe(
    name="backdoor",
    title="Backdoor",
    summary="Teaches that pictures with a mark are of one class, and the rest as it should be.",
    paper="Gu et al. 2017, 1708.06733; Bagdasaryan et al. 2020, 1807.00459",
    stopped_by="the middles weaken it; the clip bounds the factor",
    make=backdoor,
    parameters=(
        Parameter("target", "Target", "number of the class, from 0", 0.0, 0.0, 100_000.0, whole=True),
        Parameter("rate", "Rate", "share of an attacker's pictures that get the mark", 0.5, 0.0, 1.0),
        Parameter("side", "Side", "of the mark, in percent of the picture's", 15.0, 1.0, 100.0),
        Parameter("factor", "Factor", "how much longer than an honest update", 1.0, 0.0, 1000.0),
    ),
)
