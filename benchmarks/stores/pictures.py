"""Draws a device's data folder: thousands of small pictures in all states, some of them alike, blurred or tiny."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fanlight.learning.folders import DELETED, NOT_USABLE, UNLABELLED

SIDE = 96
_TINY = 24
_GRID = 7
_SHARES = ((UNLABELLED, 25), (NOT_USABLE, 2), (DELETED, 2))
"""Percent of the pictures that lie elsewhere than in a class's folder."""


def draw_pictures(folder: Path, classes: Sequence[str], count: int) -> None:
    """``count`` pictures: every tenth like the one before it, every fiftieth blurred, every fiftieth tiny."""
    chance = np.random.default_rng(3)
    last: Image.Image | None = None
    for number, place in enumerate(_places(classes, count)):
        if last is not None and number % 10 == 9:
            picture = last.point([min(255, level + 6) for level in range(256)] * 3)
        else:
            picture = last = _picture(chance, number)
        target = folder / place / f"camera {number:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=90)


def _places(classes: Sequence[str], count: int) -> Iterator[str]:
    aside = [name for name, share in _SHARES for _ in range(count * share // 100)]
    yield from aside
    for number in range(count - len(aside)):
        yield classes[number % len(classes)]


def _picture(chance: np.random.Generator, number: int) -> Image.Image:
    coarse = Image.fromarray(chance.integers(0, 256, (_GRID, _GRID, 3), dtype=np.uint8))
    side = _TINY if number % 50 == 7 else SIDE
    smooth = coarse.resize((side, side), Image.Resampling.BICUBIC)
    if number % 50 == 3:
        return smooth
    grain = chance.integers(-25, 26, (side, side, 1))
    return Image.fromarray(np.clip(np.asarray(smooth, np.int16) + grain, 0, 255).astype(np.uint8))
