"""What a picture's pixels say of it: size, sharpness, its look; and its thumbnail."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.learning import looks, pictures

THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail, in pixels."""


@dataclass(frozen=True)
class Measured:
    """What is kept of a picture's pixels.

    Attributes:
        width, height: in pixels, upright.
        sharpness: >= 0.
        perceptual_hash, colours: its look, see ``looks.Look``.
    """

    width: int
    height: int
    sharpness: float
    perceptual_hash: bytes
    colours: bytes


def measure(data: bytes, name: str) -> Measured:
    """Look at a picture file.

    Raises:
        PictureError: it cannot be used; the message names it.
    """
    seen = looks.look(data, name=name)
    return Measured(seen.width, seen.height, _sharpness(seen.grey), seen.look.code, seen.look.colours)


def thumbnail(data: bytes, name: str) -> bytes:
    """A WebP of at most ``THUMBNAIL_SIDE`` pixels a side, upright, never enlarged, without any metadata.

    Raises:
        PictureError: the picture cannot be used.
    """
    square = pictures.load(data, THUMBNAIL_SIDE, name=name)
    width, height, _kind = pictures.header(data, name=name)
    scale = min(1.0, THUMBNAIL_SIDE / max(width, height))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn = io.BytesIO()
    Image.fromarray(square).resize(shape, Image.Resampling.BILINEAR).save(drawn, "WEBP", quality=82)
    return drawn.getvalue()


def _sharpness(grey: NDArray[np.float64]) -> float:
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.var(around - 4 * grey[1:-1, 1:-1]))
