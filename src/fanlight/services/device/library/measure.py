"""What a picture's pixels say of it: size, sharpness, a perceptual hash, its colours; and its thumbnail.

Perceptual hash: dHash. The picture is squeezed to 9 x 8 grey levels; each bit says whether a level is below its right
neighbour, row by row. Scaling, recompression and small changes of light move few of the 64 bits.
(Krawetz, "Kind of Like That", 2013.)
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.learning import pictures

THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail, in pixels."""
SIDE = 8
"""Places a side at which colours are kept."""
COLOURS = 3 * SIDE**2
"""Bytes of a picture's colours."""

_GREY = np.array([0.299, 0.587, 0.114])
_SMALLEST = 8


@dataclass(frozen=True)
class Measured:
    """What is kept of a picture's pixels.

    Attributes:
        width, height: in pixels, upright.
        sharpness: >= 0.
        perceptual_hash: 8 bytes.
        colours: the picture squeezed to ``SIDE`` x ``SIDE`` places, row by row; red, green and blue of each.
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
    side = THUMBNAIL_SIDE
    square = pictures.load(data, side, name=name)  # first: it refuses whatever is dangerous
    width, height, _kind = pictures.header(data, name=name)
    if min(width, height) < side:  # enlarging would make a small picture look blurred
        side = max(_SMALLEST, min(width, height))
        square = pictures.load(data, side, name=name)
    grey = square @ _GREY
    colours = Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return Measured(width, height, _sharpness(grey), _difference_hash(grey), colours)


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


def _difference_hash(grey: NDArray[np.float64]) -> bytes:
    small = Image.fromarray(grey.astype(np.uint8)).resize((9, 8), Image.Resampling.BOX)
    levels = np.asarray(small, np.int16)
    return np.packbits(levels[:, :-1] < levels[:, 1:]).tobytes()
