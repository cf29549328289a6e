"""``shapes``: coloured shapes, drawn here: for fast tests, and for screenshots that show nobody's picture.

Each picture has its own background, colours, place, size, turn and shadow, so that colour says nothing of the class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import Places
from fanlight.learning.datasets.partition import evenly
from fanlight.learning.datasets.source import Labelled, Source

CLASSES = ("circle", "square", "triangle", "star")
SIDE = 96
PER_CLASS_AND_DEVICE = 25

_FINE = 3  # drawn three times as large, then reduced: smooth edges
_CORNERS = {"circle": 72, "square": 4, "triangle": 3, "star": 10}


def load(_places: Places, devices: int, chance: Chance) -> Labelled:
    """100 pictures for each device, all four classes alike."""
    labels = np.tile(np.arange(len(CLASSES)), PER_CLASS_AND_DEVICE * devices)
    return Labelled([draw(CLASSES[label], chance) for label in labels], labels.astype(np.int64))


def draw(name: str, chance: Chance) -> NDArray[np.uint8]:
    """One picture of the named class: (96, 96, 3) uint8 RGB."""
    fine = SIDE * _FINE
    hue = chance.uniform()
    picture = _backdrop(SIDE, (hue + chance.uniform(0.25, 0.75)) % 1.0, chance)
    outline = _outline(name, fine, chance)
    depth = SIDE * chance.uniform(0.02, 0.05)
    shadow = Image.new("L", (SIDE, SIDE), 0)
    ImageDraw.Draw(shadow).polygon([(x / _FINE + depth, y / _FINE + depth) for x, y in outline], fill=130)
    picture.paste((25, 25, 45), mask=shadow.filter(ImageFilter.GaussianBlur(SIDE / 40)))
    shape = Image.new("RGBA", (fine, fine), (0, 0, 0, 0))
    brush = ImageDraw.Draw(shape)
    rim = _colour(hue, chance.uniform(0.5, 0.8), chance.uniform(0.35, 0.6))
    brush.polygon(outline, fill=_colour(hue, chance.uniform(0.55, 0.95), chance.uniform(0.75, 1.0)))
    brush.line([*outline, outline[0], outline[1]], fill=rim, width=fine // 60, joint="curve")
    cutout = shape.resize((SIDE, SIDE), Image.Resampling.BOX)
    picture.paste(cutout, mask=cutout)
    return np.array(picture, dtype=np.uint8)


def _backdrop(side: int, hue: float, chance: Chance) -> Image.Image:
    """A soft gradient between two pale colours, in a direction of its own."""
    pale = [_colour(hue + shift, chance.uniform(0.1, 0.35), chance.uniform(0.8, 1.0)) for shift in (0.0, 0.08)]
    turn = chance.uniform(0.0, 2 * math.pi)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    mix = np.clip(0.5 + columns * math.cos(turn) + rows * math.sin(turn), 0.0, 1.0)[..., None]
    return Image.fromarray(np.rint(mix * np.array(pale[0]) + (1.0 - mix) * np.array(pale[1])).astype(np.uint8))


def _outline(name: str, side: int, chance: Chance) -> list[tuple[float, float]]:
    """Corners in pixels, all inside the picture."""
    corners = _CORNERS[name]
    radius = side * chance.uniform(0.22, 0.38)
    reach = max(0.0, side * 0.46 - radius)
    middle_x, middle_y = (side / 2 + chance.uniform(-reach, reach) for _ in range(2))
    turn = chance.uniform(0.0, 2 * math.pi)
    points = []
    for corner in range(corners):
        away = radius * (0.45 if name == "star" and corner % 2 else 1.0)
        angle = turn + 2 * math.pi * corner / corners
        points.append((middle_x + away * math.cos(angle), middle_y + away * math.sin(angle)))
    return points


def _colour(hue: float, saturation: float, brightness: float) -> tuple[int, int, int]:
    """HSV, each 0 to 1 (hue modulo 1), to RGB bytes."""

    def channel(offset: int) -> int:
        k = (offset + hue * 6) % 6
        return round(255 * (brightness - brightness * saturation * max(0.0, min(k, 4 - k, 1))))

    return channel(5), channel(3), channel(1)


SOURCE = Source("shapes", CLASSES, 96, load, evenly)
