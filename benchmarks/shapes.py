"""Draws labelled pictures for benchmarks: shapes, in folders of their classes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance

SIDE = 128
CLASSES = shapes.CLASSES


def draw(folder: Path, count: int) -> None:
    """``count`` pictures of ``SIDE`` pixels, as many of each class as of the others."""
    chance = Chance("benchmark", 0)
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        place = folder / name / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shapes.draw(name, chance)).resize((SIDE, SIDE)).save(place, quality=90)
