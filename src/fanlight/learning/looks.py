"""What a picture looks like, in 200 bytes: enough to find pictures that look alike (``alike``).

A perceptual hash, dHash: the picture is squeezed to 9 x 8 grey levels; each bit says whether a level is below its right
neighbour, row by row. Scaling, recompression and small changes of light move few of the 64 bits.
(Krawetz, "Kind of Like That", 2013.) And colours: the picture squeezed to 8 x 8 places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.learning import pictures

SIDE: Final = 8
"""Places a side at which colours are kept."""
COLOURS: Final = 3 * SIDE**2
"""Bytes of a picture's colours."""
SQUARE_SIDE: Final = 256
"""Side of the square that is looked at, in pixels; of smaller pictures their shorter side, since enlarging blurs."""

_GREY = np.array([0.299, 0.587, 0.114])
_SMALLEST = 8


class Look(NamedTuple):
    """``code``: the perceptual hash, 8 bytes; ``colours``: red, green and blue of each place, row by row."""

    code: bytes
    colours: bytes


class Seen(NamedTuple):
    """A picture that was looked at: upright ``width`` and ``height``, grey levels (s, s) of its square, its look."""

    width: int
    height: int
    grey: NDArray[np.float64]
    look: Look


def look(source: Path | bytes, *, name: str | None = None) -> Seen:
    """Look at a picture.

    Raises:
        PictureError: it cannot be used; the message names it.
    """
    called = name or (str(source) if isinstance(source, Path) else "the picture")
    data, side = pictures.read(source, name=called), SQUARE_SIDE
    square = pictures.load(data, side, name=called)  # first: it refuses whatever is dangerous
    width, height, _kind = pictures.header(data, name=called)
    if min(width, height) < side:
        side = max(_SMALLEST, min(width, height))
        square = pictures.load(data, side, name=called)
    grey = square @ _GREY
    colours = Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return Seen(width, height, grey, Look(_difference_hash(grey), colours))


def _difference_hash(grey: NDArray[np.float64]) -> bytes:
    small = Image.fromarray(grey.astype(np.uint8)).resize((9, 8), Image.Resampling.BOX)
    levels = np.asarray(small, np.int16)
    return np.packbits(levels[:, :-1] < levels[:, 1:]).tobytes()
