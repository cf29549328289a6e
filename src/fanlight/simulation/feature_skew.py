"""Every device sees the world through a camera of its own: brighter or darker, out of focus, askew.

| term | a device's camera |
|---|---|
| ``brightness:F`` | multiplies grey levels by a factor from 1 - F to 1 + F |
| ``blur:R`` | blurs by a Gaussian of a radius from 0 to R pixels |
| ``rotation:D`` | is turned by -D to D degrees |

A device draws its own once and keeps it (feature distribution skew, Kairouz et al. 1912.04977, section 3.1: P(x | y)
differs, P(y) need not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fanlight.core.terms import Term
from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureSkew:
    """What one camera does to a picture.

    Attributes:
        brightness: factor on grey levels, 1 = as they are.
        blur: radius of the Gaussian in pixels, 0 = sharp.
        rotation: degrees, counter-clockwise.
    """

    brightness: float = 1.0
    blur: float = 0.0
    rotation: float = 0.0

    def applied(self, picture: Pixels) -> Pixels:
        """The picture, (h, w) or (h, w, 3), as this camera sees it; what turns into it has the border's mean colour.

        Raises:
            DataError: no picture of such a shape.
        """
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
            raise DataError(f"an array of shape {picture.shape} and type {picture.dtype} is not a picture")
        image = Image.fromarray(picture)
        if self.rotation:
            image = image.rotate(self.rotation, Image.Resampling.BILINEAR, fillcolor=_border(picture))
        if self.blur:
            image = image.filter(ImageFilter.GaussianBlur(self.blur))
        seen = np.asarray(image)
        if self.brightness != 1.0:
            seen = np.clip(np.rint(seen * self.brightness), 0, 255).astype(np.uint8)
        return seen


PLAIN: Final = FeatureSkew()
"""A camera that shows what is there."""

SKEWS: Final[Mapping[str, tuple[str, float, float]]] = MappingProxyType(
    {
        "brightness": ("brightness:0.5", 0.0, 1.0),
        "blur": ("blur:2", 0.0, 100.0),
        "rotation": ("rotation:30", 0.0, 180.0),
    }
)
"""By term: an example, and the bounds of its value."""


def skews_of(terms: Sequence[Term], devices: int, chance: Chance) -> list[FeatureSkew] | None:
    """One camera for each device, drawn in the order of devices; None if there are no terms.

    Raises:
        SettingsError: a term has another value than it takes.
    """
    if not terms:
        return None
    most = dict.fromkeys(SKEWS, 0.0)
    for term in terms:
        example, low, high = SKEWS[term.name]
        term.takes(example, value=True)
        most[term.name] = term.number(example, low=low, high=high)
    drawn = chance.uniforms(3 * devices).reshape(devices, 3)
    return [
        FeatureSkew(
            1.0 + most["brightness"] * (2.0 * float(brightness) - 1.0),
            most["blur"] * float(blur),
            most["rotation"] * (2.0 * float(rotation) - 1.0),
        )
        for brightness, blur, rotation in drawn
    ]


def _border(picture: Pixels) -> int | tuple[int, ...]:
    edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    mean = np.rint(edges.mean(axis=0)).astype(int)
    return int(mean) if picture.ndim == 2 else tuple(int(channel) for channel in mean)
