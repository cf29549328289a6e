"""Pictures that look alike: their perceptual hashes say which may, a second look at their colours which do.

Two hashes of which at most 10 bits differ agree wholly in at least one of 11 slices of the bits (Norouzi, Punjani and
Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", 2012). So the hashes are sorted by each slice in turn,
and only those that agree in it are compared. A slice takes every eleventh bit: neighbouring bits say much the same.

Hashes know only grey slopes: a red star and a magenta triangle on the same ground can have the same one. So each pair
is looked at again, in colour, before it is joined: first the sums over quarters of the picture, since these cannot
differ by more than all of it does, then all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.looks import COLOURS, SIDE

ALIKE_BITS = 10
"""Most bits that differ between hashes of pictures that may look alike.

Measured on the 369 stamps of Tux Paint: stamp and three copies, one smaller and recompressed, one brighter, one shifted
by 1 %, come into one group for 93 % of the stamps (with 4 bits for 68 %, with more bits no more), and no two stamps do.
"""
ALIKE_LEVELS = 7
"""Most grey levels (of 256) by which the colours of pictures differ that look alike, on average over their places.

A difference in light, the same everywhere, does not count. Measured on the same stamps, on 1,600 drawn shapes and on
tiles of photos: scaled and recompressed pictures differ by at most 3, brighter ones by at most 5, those with 3 % cut
off by 3 (shapes, photos) to 10 (stamps) at the median. Of the 1,230 pairs of different shapes whose hashes are alike,
the nearest differ by 7.4, half of them by more than 30. Some things are more alike than a copy: the sides of a dreidel,
tiles of the sky. So the page says that they may be copies, and chooses none of them in advance.
"""

_BITS = 64
_SLICES = [np.uint64(sum(1 << bit for bit in range(first, _BITS, ALIKE_BITS + 1))) for first in range(ALIKE_BITS + 1)]

Indices = NDArray[np.intp]
Codes = NDArray[np.uint64]
Levels = NDArray[np.int32]


def groups(seen: Sequence[tuple[str, bytes, bytes]]) -> list[list[str]]:
    """Connected groups of two or more pictures, in the order given.

    Args:
        seen: (content hash, perceptual hash, colours) of n pictures, the last two as in ``looks.Look``; where few
            hashes are alike, the time grows like n log n, and the memory always like n.
    """
    looks = list(dict.fromkeys((code, colours) for _sha256, code, colours in seen))
    which = {look: number for number, look in enumerate(looks)}
    codes = np.frombuffer(b"".join(code for code, _colours in looks), np.uint64)
    fine = _without_light(b"".join(colours for _code, colours in looks))
    coarse = fine.reshape(-1, 2, SIDE // 2, 2, SIDE // 2, 3).sum(axis=(2, 4)).reshape(-1, 12)
    group = np.arange(len(looks))
    for number, bits in enumerate(_SLICES):
        for one, other in _candidates(codes, codes & bits, _SLICES[:number]):
            pairs = np.stack([one, other])
            pairs = pairs[:, group[pairs[0]] != group[pairs[1]]]
            for levels in (coarse, fine):
                pairs = pairs[:, _near(levels[pairs[0]], levels[pairs[1]])]
            group = _joined(group, pairs[0], pairs[1])
    found: dict[int, list[str]] = {}
    for sha256, code, colours in seen:
        found.setdefault(int(group[which[code, colours]]), []).append(sha256)
    return [members for members in found.values() if len(members) > 1]


def _without_light(colours: bytes) -> Levels:
    """The colours of n pictures against the mean of each: (n, ``COLOURS``), in ``COLOURS``-ths of a level."""
    levels = np.frombuffer(colours, np.uint8).reshape(-1, COLOURS).astype(np.int32)
    against: Levels = COLOURS * levels - levels.sum(axis=1, keepdims=True, dtype=np.int32)
    return against


def _near(one: Levels, other: Levels) -> NDArray[np.bool_]:
    """Which of m pairs are no further apart than those that look alike: (m,)."""
    near: NDArray[np.bool_] = np.abs(one - other).sum(axis=1) <= ALIKE_LEVELS * COLOURS**2
    return near


def _candidates(codes: Codes, keys: Codes, earlier: Sequence[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """All pairs of codes with the same key of which at most ``ALIKE_BITS`` bits differ; each yields (m,), (m,).

    Those that agree in an ``earlier`` slice have been looked at.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.arange(codes.size)
    for apart in range(1, codes.size):
        first = first[first + apart < codes.size]
        first = first[ordered[first] == ordered[first + apart]]
        if not first.size:
            return
        one, other = order[first], order[first + apart]
        differing = codes[one] ^ codes[other]
        wanted = np.bitwise_count(differing) <= ALIKE_BITS
        for bits in earlier:
            wanted &= (differing & bits) != 0
        yield one[wanted], other[wanted]


def _joined(group: Indices, one: Indices, other: Indices) -> Indices:
    """The groups (n,), each named by its smallest member, when ``one`` and ``other`` (m,) belong together."""
    while (apart := group[one] != group[other]).any():
        ends = np.sort([group[one][apart], group[other][apart]], axis=0)
        to = np.arange(group.size)
        np.minimum.at(to, ends[1], ends[0])
        while (further := to[to] != to).any():
            to[further] = to[to[further]]
        group = to[group]
    return group
