"""Small folders of pictures for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(number: int) -> NDArray[np.uint8]:
    """(8, 10, 3): equal numbers give equal pixels, and others such as do not look alike."""
    return np.random.default_rng(number).integers(0, 256, (8, 10, 3)).astype(np.uint8)


def picture(path: Path, number: int) -> Path:
    """A small PNG of these pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number)).save(path)
    return path


def pictures(folder: Path, count: int, start: int = 0) -> Path:
    for number in range(start, start + count):
        picture(folder / f"{number:04d}.png", number)
    return folder
