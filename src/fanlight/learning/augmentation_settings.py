"""How training pictures are varied on purpose: numbers of a task's plan (``augmentation`` draws by them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fanlight.errors import SettingsError

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
