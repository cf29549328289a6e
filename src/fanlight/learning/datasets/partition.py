"""How pictures go to devices. Each function: labels (n,), number of devices, chance to one index array a device.

Every picture goes to exactly one device.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.datasets.chance import Chance

Indices: TypeAlias = "NDArray[np.int64]"

_DRAWS = 100


def evenly(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Every device gets its share of every class; totals differ by at most one."""
    order = np.concatenate([chance.shuffled(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    return [np.sort(order[device::devices]) for device in range(devices)]


def by_class(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Two devices: the lower half of the classes and the upper half, so that neither could do it alone.

    More devices: ``dirichlet``.
    """
    if devices != 2:
        return dirichlet(labels, devices, chance)
    upper = labels >= (int(labels.max()) + 1) // 2
    return [np.flatnonzero(~upper), np.flatnonzero(upper)]


def dirichlet(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Each class is dealt out in shares drawn from a symmetric Dirichlet distribution of concentration 0.5.

    Source: Hsu, Qi, Brown 1909.06335; drawn again (at most 100 times) until each device has a quarter of an even
    share, as in Li et al. 2102.02079. If that never comes, the poorest are topped up from the richest.
    """
    least = max(1, labels.size // (4 * devices))
    shares = _dirichlet_once(labels, devices, chance)
    for _ in range(_DRAWS):
        if min(share.size for share in shares) >= least:
            break
        shares = _dirichlet_once(labels, devices, chance)
    return [np.sort(share) for share in _topped_up(shares, least)]


def _dirichlet_once(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    dealt: list[list[Indices]] = [[] for _ in range(devices)]
    for label in np.unique(labels):
        members = chance.shuffled(np.flatnonzero(labels == label))
        shares = chance.half_dirichlet(devices)
        borders = [0, *np.rint(np.cumsum(shares)[:-1] * members.size).astype(int), members.size]
        for device, (first, last) in enumerate(pairwise(borders)):
            dealt[device].append(members[first:last])
    return [np.concatenate(parts) for parts in dealt]


def _topped_up(shares: list[Indices], least: int) -> list[Indices]:
    shares = list(shares)
    for device in range(len(shares)):
        while shares[device].size < least:
            richest = max(range(len(shares)), key=lambda other: shares[other].size)
            wanted = min(least - shares[device].size, shares[richest].size - least)
            if wanted < 1:
                return shares
            shares[device] = np.concatenate([shares[device], shares[richest][:wanted]])
            shares[richest] = shares[richest][wanted:]
    return shares
