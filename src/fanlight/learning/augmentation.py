"""Pictures varied on purpose, so that a head learns what does not matter: side, distance, place and light.

Rules, and why they hold:

1. *Only training pictures are varied.* What a model is chosen or measured by is what the camera saw.
2. *Variants are drawn once.* Which ones is fixed by the picture's content, the augmentation and the variant's number
   (SHA-256), so that features are computed once, and are the same after they were lost.
3. *A variant stands for its picture.* It has the picture's label, and no count grows by it.
4. *Variant k does not depend on how many there are:* with more of them, those that are there stay.

A window of the picture, with sides of (100 - zoom) to 100 % of the picture's and anywhere in it, is brought to the
square; every other variant is mirrored; light and contrast are changed by up to ``light_percent``.
(Krizhevsky, Sutskever and Hinton 2012, section 4.1; Howard 1312.5402.)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import SettingsError
from fanlight.learning import pictures

MOST_VARIANTS: Final = 16
"""Of one picture."""
MOST_PERCENT: Final = 50
MOST_OF_ALL: Final = 12_800_000
"""Numbers in the features of all variants on a device, 51 MB: 10,000 variants of 1,280 features. Of many pictures, or
of long features, fewer variants are made."""

_FORMAT: Final = 1  # raise it when the same numbers give another picture


@dataclass(frozen=True)
class Augmentation:
    """How pictures are varied.

    Attributes:
        variants: of each picture, beside itself, 1 to ``MOST_VARIANTS``.
        flip: is every other one mirrored, left to right?
        zoom_percent: by how much the window may be narrower than the picture, 0 to ``MOST_PERCENT``.
        light_percent: by how much light and contrast may grow or shrink, 0 to ``MOST_PERCENT``.

    Raises:
        SettingsError: a number is out of range, or nothing is varied.
    """

    variants: int
    flip: bool = False
    zoom_percent: int = 0
    light_percent: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.variants <= MOST_VARIANTS:
            raise SettingsError(f"{self.variants} variants of a picture: 1 to {MOST_VARIANTS} can be made")
        for name, percent in (("zoom_percent", self.zoom_percent), ("light_percent", self.light_percent)):
            if not 0 <= percent <= MOST_PERCENT:
                raise SettingsError(f"{name} is 0 to {MOST_PERCENT}, not {percent}")
        if not (self.flip or self.zoom_percent or self.light_percent):
            raise SettingsError("an augmentation without flip, zoom or light varies nothing")

    @property
    def id(self) -> str:
        """What features of variants are kept under: how they are made, not how many."""
        return f"v{_FORMAT}-f{int(self.flip)}-z{self.zoom_percent}-l{self.light_percent}"

    def variants_of(self, training_pictures: int, features: int) -> int:
        """How many a device makes of each of so many pictures: all, unless that were more than ``MOST_OF_ALL``."""
        return min(self.variants, MOST_OF_ALL // (max(training_pictures, 1) * features))


def vary(
    data: bytes, content: str, augmentation: Augmentation, size: int, numbers: Sequence[int], *, name: str | None = None
) -> NDArray[np.uint8]:
    """Variants of a picture.

    Args:
        data: the picture's file.
        content: SHA-256 of it, in hexadecimal.
        augmentation: how.
        size: side of the square in pixels.
        numbers: m of them, from 0.
        name: what to call the picture in errors.

    Returns:
        (m, size, size, 3) uint8, RGB.

    Raises:
        PictureError: the picture cannot be used.
    """
    side = min(math.ceil(size * 100 / (100 - augmentation.zoom_percent)), pictures.MAX_SIZE)
    whole = Image.fromarray(pictures.load(data, side, name=name))
    drawn = np.empty((len(numbers), size, size, 3), np.uint8)
    for place, number in enumerate(numbers):
        drawn[place] = _variant(whole, _chances(content, augmentation, number), augmentation, size, number)
    return drawn


def _variant(
    whole: Image.Image, chances: list[float], augmentation: Augmentation, size: int, number: int
) -> NDArray[np.uint8]:
    narrower, left, top, light, contrast = chances
    side = whole.width
    window = side * (1 - narrower * augmentation.zoom_percent / 100)
    x, y = left * (side - window), top * (side - window)
    square = whole.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + window, y + window))
    if augmentation.flip and number % 2 == 0:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(square)
    return _lit(pixels, light, contrast, augmentation.light_percent / 100) if augmentation.light_percent else pixels


def _lit(pixels: NDArray[np.uint8], light: float, contrast: float, most: float) -> NDArray[np.uint8]:
    """Lighter or darker, and with more or less contrast around the mean; both by a factor of 1 - most to 1 + most."""
    levels, mean = pixels.astype(np.float32), float(pixels.mean())
    factor = 1 + most * (2 * contrast - 1)
    levels = (levels - mean) * np.float32(factor) + np.float32(mean * (1 + most * (2 * light - 1)))
    lit: NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return lit


def _chances(content: str, augmentation: Augmentation, number: int) -> list[float]:
    """Five numbers in [0, 1)."""
    digest = hashlib.sha256(f"fanlight/variant/{augmentation.id}/{number}/{content}".encode()).digest()
    return [int.from_bytes(digest[4 * i : 4 * i + 4], "little") / 2**32 for i in range(5)]
