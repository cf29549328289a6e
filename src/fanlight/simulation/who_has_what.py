"""Who has what: a partition in a few numbers, and as a picture of circles.

How unlike the devices are is told by the mean total variation distance between the classes of a device and those of
all: 0, every device is a small copy of the whole; (K - 1)/K, each has one class of K, all as frequent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.datasets.partition import Indices

SHOWN: Final = 40
"""Devices that the picture and the table of counts stop at."""
_CELL: Final = 22
_LEFT: Final = 110
_TOP: Final = 26


def counts_of(labels: Indices, dealt: Sequence[Indices], classes: int) -> NDArray[np.int64]:
    """(devices, classes), how many pictures of each class each device has."""
    return np.array([np.bincount(labels[indices], minlength=classes) for indices in dealt], np.int64)


def describe(counts: NDArray[np.int64], classes: Sequence[str], spec: str) -> dict[str, Any]:
    """For ``result.json``.

    Args:
        counts: see ``counts_of``; every device has a picture.
        classes: names, in the order of the columns.
        spec: the line of the partition.

    Returns:
        ``partition``; ``devices``; ``classes``; ``pictures`` and ``classes_per_device`` (each ``least``, ``median``,
        ``most``); ``distance`` (see the module); ``counts`` of the first ``SHOWN`` devices.
    """
    sizes = counts.sum(axis=1)
    apart = 0.5 * np.abs(counts / sizes[:, None] - counts.sum(axis=0) / counts.sum()).sum(axis=1)
    return {
        "partition": spec,
        "devices": len(counts),
        "classes": list(classes),
        "pictures": _spread(sizes),
        "classes_per_device": _spread((counts > 0).sum(axis=1)),
        "distance": round(float(apart.mean()), 4),
        "counts": counts[:SHOWN].tolist(),
    }


def as_svg(description: dict[str, Any]) -> str:
    """A circle for each device (columns) and class (rows) whose area is the number of pictures; words in the text.

    Args:
        description: as from ``describe``.
    """
    counts, names = np.array(description["counts"]), [_short(name) for name in description["classes"]]
    width, height = _LEFT + _CELL * len(counts) + 8, _TOP + _CELL * len(names) + 8
    most = int(counts.max())
    marks = [
        f'<text x="{_LEFT - 8}" y="{_middle(row, _TOP) + 4}" text-anchor="end">{escape(name)}</text>'
        for row, name in enumerate(names)
    ]
    marks += [
        f'<text x="{_middle(device, _LEFT)}" y="16" text-anchor="middle">{device}</text>'
        for device in range(0, len(counts), 5)
    ]
    marks += [
        f'<circle cx="{_middle(device, _LEFT)}" cy="{_middle(row, _TOP)}" r="{_radius(count, most)}">'
        f"<title>device {device}, {escape(names[row])}: {count}</title></circle>"
        for device, row in np.argwhere(counts > 0)
        if (count := int(counts[device, row]))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" fill="currentColor" font-family="sans-serif" font-size="12">'
        f"<title>{escape(in_words(description))}</title>{''.join(marks)}</svg>"
    )


def in_words(description: dict[str, Any]) -> str:
    """The same in a sentence or two."""
    pictures, classes = description["pictures"], description["classes_per_device"]
    shown = len(description["counts"])
    rest = f" The first {shown} of {description['devices']} devices." if shown < description["devices"] else ""
    return (
        f"Who has what ({description['partition']}): {pictures['least']} to {pictures['most']} pictures a device, "
        f"of {classes['least']} to {classes['most']} of {len(description['classes'])} classes; "
        f"distance from the whole {description['distance']:.2f}.{rest}"
    )


def _spread(values: NDArray[np.int64]) -> dict[str, float]:
    return {"least": int(values.min()), "median": float(np.median(values)), "most": int(values.max())}


def _middle(place: int, start: int) -> int:
    return start + _CELL * place + _CELL // 2


def _radius(count: int, most: int) -> float:
    return round(max(1.0, (_CELL / 2 - 1) * math.sqrt(count / most)), 1)


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
