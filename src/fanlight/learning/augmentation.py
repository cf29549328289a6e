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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.learning import pictures
from fanlight.learning.augmentation_settings import Augmentation


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
