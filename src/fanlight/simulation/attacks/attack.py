"""What every attack is: a record of pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.algorithms.recipe import Parameter
from fanlight.learning.datasets.chance import Chance

Updates = NDArray[np.float64]
"""(m, d): of the attackers of a round, one row each."""
Craft = Callable[[Updates, int, Chance], Updates]
"""Their honest updates, the number of all devices in the round, chance: what they send instead."""
Labels = NDArray[np.int64]


def honest(updates: Updates, _devices: int, _chance: Chance) -> Updates:
    """What they have learned."""
    return updates


@dataclass(frozen=True)
class Trigger:
    """A mark on pictures, and what they are called then.

    Attributes:
        side: of the mark, in percent of the picture's shorter one.
        target: the class that pictures with the mark are to be taken for.
        rate: share of an attacker's pictures that get it.
    """

    side: float
    target: int
    rate: float


@dataclass(frozen=True)
class Attack:
    """An attack with its parameters filled in.

    Attributes:
        craft: what its devices send.
        relabel: labels (n,) and number of classes to what its devices call their pictures; None = as they are.
        trigger: of a backdoor; None = none.
    """

    craft: Craft = honest
    relabel: Callable[[Labels, int], Labels] | None = None
    trigger: Trigger | None = None


NO_ATTACK: Final = Attack()


@dataclass(frozen=True)
class AttackRecipe:
    """An attack whose parameters are still open.

    Attributes:
        name: in a study. title: as people write it.
        summary: what it does, in a sentence.
        paper: authors, year, arXiv number or venue.
        stopped_by: which defences hold against it, in a sentence.
        make: the attack, of values for ``parameters``.
    """

    name: str
    title: str
    summary: str
    paper: str
    stopped_by: str
    make: Callable[..., Attack]
    parameters: tuple[Parameter, ...] = ()
