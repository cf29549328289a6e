"""How pictures go to devices. Each function: labels (n,), number of devices, chance to one index array a device.

Every picture goes to exactly one device. Arrays are sorted; none of them is empty.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance

Indices: TypeAlias = "NDArray[np.int64]"

_DRAWS: Final = 100


def evenly(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Every device gets its share of every class; totals differ by at most one."""
    order = np.concatenate([chance.shuffled(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    return [np.sort(order[device::devices]) for device in range(devices)]


def iid(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Shuffled and dealt out: every device draws from the same distribution; totals differ by at most one.

    Source: McMahan et al. 1602.05629, section 3.

    Raises:
        DataError: fewer pictures than devices.
    """
    _enough(labels, devices)
    return _in_pieces(chance.shuffled(np.arange(labels.size)), _even(labels.size, devices))


def evenly_in_groups(labels: Indices, devices: int, chance: Chance, groups: Sequence[Sequence[int]]) -> list[Indices]:
    """As ``evenly``, but ``groups`` of pictures that look alike, by their indices, each go to one device.

    The next one is the device with the fewest pictures so far.
    """
    others = {other for group in groups for other in group[1:]}
    behind = {group[0]: list(group[1:]) for group in groups}
    dealt: list[list[int]] = [[] for _ in range(devices)]
    for label in np.unique(labels):
        for first in chance.shuffled(np.flatnonzero(labels == label)).tolist():
            if first not in others:
                min(dealt, key=len).extend([first, *behind.get(first, [])])
    return [np.sort(np.array(indices, np.int64)) for indices in dealt]


def by_class(labels: Indices, devices: int, chance: Chance) -> list[Indices]:
    """Two devices: the lower half of the classes and the upper half, so that neither could do it alone.

    More devices: ``dirichlet``.
    """
    if devices != 2:
        return dirichlet(labels, devices, chance)
    upper = labels >= (int(labels.max()) + 1) // 2
    return [np.flatnonzero(~upper), np.flatnonzero(upper)]


def dirichlet(
    labels: Indices, devices: int, chance: Chance, concentration: float = 0.5, least: int | None = None
) -> list[Indices]:
    """Each class is dealt out in shares drawn from a symmetric Dirichlet distribution.

    Source: Hsu, Qi, Brown 1909.06335, drawn class by class as in Yurochkin et al. 1905.12022; drawn again (at most
    100 times) until each device has ``least`` pictures, as in Li et al. 2102.02079. If that never comes, the poorest
    are topped up from the richest.

    Args:
        labels, devices, chance: see the module.
        concentration: positive; the smaller, the fewer classes a device has.
        least: pictures; None, or more than that: a quarter of an even share, at least one.

    Raises:
        DataError: fewer pictures than devices.
    """
    _enough(labels, devices)
    quarter = max(1, labels.size // (4 * devices))
    least = quarter if least is None else min(least, quarter)
    members = [chance.shuffled(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    for _ in range(_DRAWS):
        sizes = np.array([_rounded(chance.dirichlet(concentration, devices), each.size) for each in members])
        if sizes.sum(axis=0).min() >= least:
            break
    cut = [np.split(each, np.cumsum(row)[:-1]) for each, row in zip(members, sizes, strict=True)]
    return [np.sort(share) for share in _topped_up([np.concatenate(parts) for parts in zip(*cut, strict=True)], least)]


def by_shards(labels: Indices, devices: int, chance: Chance, classes: int) -> list[Indices]:
    """``classes`` classes a device, each of equal size in pictures as far as that goes.

    Source: McMahan et al. 1602.05629, section 3: sort by class, cut into shards, deal ``classes`` of them to each
    device. Here no shard holds two classes, and no device gets two shards of one class.

    Raises:
        DataError: the classes do not suffice for that, not all of them find a place, or there are too few pictures.
    """
    found, counts = np.unique(labels, return_counts=True)
    if not 1 <= classes <= found.size <= classes * devices:
        raise DataError(
            f"{found.size} classes cannot be dealt out to {devices} devices with {classes} each",
            next=f"Give each device 1 to {found.size} classes, and take enough devices for all of them.",
        )
    shards = _shards_of(counts, classes * devices, devices)
    cut = [
        np.array_split(chance.shuffled(np.flatnonzero(labels == label)), count)
        for label, count in zip(found, shards, strict=True)
    ]
    left, dealt = shards.copy(), []
    for after in range(devices, 0, -1):
        keys = -np.log(1.0 - chance.uniforms(found.size)) / np.maximum(left, 1e-9)
        keys[left == after] = -1.0  # who is to give one to each device that is still to come gives one to this
        keys[left == 0] = np.inf
        chosen = np.argsort(keys, kind="stable")[:classes]
        left[chosen] -= 1
        dealt.append(np.sort(np.concatenate([cut[label][left[label]] for label in chosen])))
    return dealt


def by_quantity(labels: Indices, devices: int, chance: Chance, shares: NDArray[np.float64]) -> list[Indices]:
    """Shuffled and dealt out in ``shares`` (devices,), which are positive or zero and sum to 1; each gets one at least.

    Source: Li et al. 2102.02079, section 4.3 (quantity skew).

    Raises:
        DataError: fewer pictures than devices.
    """
    _enough(labels, devices)
    return _in_pieces(chance.shuffled(np.arange(labels.size)), 1 + _rounded(shares, labels.size - devices))


def by_key(labels: Indices, devices: int, chance: Chance, keys: Sequence[Any]) -> list[Indices]:
    """Pictures of one key (a writer, a camera, a folder) stay together.

    With as many devices as there are keys, devices are in the order of the keys. With fewer, keys are shuffled, and
    each goes to the device that has the fewest pictures so far.

    Args:
        labels, devices, chance: see the module.
        keys: (n,) of one type, which can be sorted.

    Raises:
        DataError: another number of keys than of labels, or more devices than different keys.
    """
    if len(keys) != labels.size:
        raise DataError(f"{len(keys)} keys do not fit {labels.size} pictures")
    distinct, place = np.unique(np.asarray(keys), return_inverse=True)
    if devices > distinct.size:
        raise DataError(
            f"{distinct.size} different keys do not suffice for {devices} devices",
            next=f"Take at most {distinct.size} devices.",
        )
    if devices == distinct.size:
        return [np.flatnonzero(place == number) for number in range(devices)]
    heap, owner = [(0, device) for device in range(devices)], np.empty(distinct.size, np.int64)
    for key in chance.shuffled(np.arange(distinct.size)):
        held, owner[key] = heap[0]
        heapq.heapreplace(heap, (held + int((place == key).sum()), int(owner[key])))
    return [np.flatnonzero(owner[place] == device) for device in range(devices)]


def as_given(labels: Indices, devices: int, lists: Sequence[Sequence[int]]) -> list[Indices]:
    """Somebody's own lists of indices, one a device.

    Raises:
        DataError: another number of lists than devices, an empty one, or an index that is missing, unknown or twice.
    """
    if len(lists) != devices:
        raise DataError(f"there are lists for {len(lists)} devices, not {devices}", next=f"Take {len(lists)} devices.")
    dealt = [np.sort(np.asarray(each, np.int64)) for each in lists]
    empty = [number for number, each in enumerate(dealt) if each.size == 0]
    if empty:
        raise DataError(f"the list of device {empty[0]} is empty", next="Leave it out, or give it a picture.")
    every = np.concatenate(dealt)
    unknown = every[(every < 0) | (every >= labels.size)]
    if unknown.size:
        raise DataError(f"index {unknown[0]} is none of the {labels.size} pictures", next="Count from 0.")
    times = np.bincount(every, minlength=labels.size)
    if (times != 1).any():
        index = int(np.flatnonzero(times != 1)[0])
        raise DataError(f"picture {index} is on {times[index]} devices, not on one", next="Name every index once.")
    return dealt


def _enough(labels: Indices, devices: int) -> None:
    if not 1 <= devices <= labels.size:
        raise DataError(f"{labels.size} pictures are too few for {devices} devices", next="Ask for fewer devices.")


def _even(total: int, parts: int) -> NDArray[np.int64]:
    return np.full(parts, total // parts) + (np.arange(parts) < total % parts)


def _rounded(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """(k,) shares of ``total`` as whole numbers that add up to it."""
    borders = np.rint(np.cumsum(shares)[:-1] * total).astype(np.int64)
    return np.diff(borders, prepend=0, append=total)


def _in_pieces(order: Indices, sizes: NDArray[np.int64]) -> list[Indices]:
    return [np.sort(piece) for piece in np.split(order, np.cumsum(sizes)[:-1])]


def _shards_of(counts: Indices, total: int, most: int) -> NDArray[np.int64]:
    """How many of ``total`` shards each class gets: one, then one after the other to whose shards are the largest."""
    shards, limits = np.ones(counts.size, np.int64), np.minimum(counts, most)
    if int(limits.sum()) < total:
        raise DataError(
            f"{int(counts.sum())} pictures of {counts.size} classes are too few to be cut into {total} shards",
            next="Ask for fewer devices, or more pictures.",
        )
    heap = [(-float(count), label) for label, count in enumerate(counts) if limits[label] > 1]
    heapq.heapify(heap)
    for _ in range(total - counts.size):
        label = heap[0][1]
        shards[label] += 1
        if shards[label] == limits[label]:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-counts[label] / shards[label], label))
    return shards


def _topped_up(shares: list[Indices], least: int) -> list[Indices]:
    sizes = np.array([share.size for share in shares])
    for device in np.flatnonzero(sizes < least):
        while sizes[device] < least:
            richest = int(sizes.argmax())
            wanted = min(least - sizes[device], sizes[richest] - least)
            shares[device] = np.concatenate([shares[device], shares[richest][:wanted]])
            shares[richest] = shares[richest][wanted:]
            sizes[device] += wanted
            sizes[richest] -= wanted
    return shares
