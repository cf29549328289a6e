"""Derives the shipped ``efficientnet_lite0_drawn.npy``: feature statistics of pictures that this program draws.

    python scripts/derive_feature_statistics.py src/fanlight/learning/efficientnet_lite0_drawn.npy

``fanlight.learning.efficientnet_lite0`` says what they are for. They come from no device and no data set. The file is
committed because the last bits of a network's outputs differ between processors, while a compiled backbone must not.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fanlight.learning import efficientnet_lite0
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.checkpoint import locate, read_pinned
from fanlight.learning.features import open_session

SIZES = (64, 96, 128)
PICTURES = 400
SEED = 5


def draw(chance: random.Random, size: int) -> NDArray[np.uint8]:
    """One to five strokes, rings, boxes and triangles on a plain ground, half of the pictures in grey."""
    wide = 2 * size
    grey = chance.random() < 0.5

    def colour() -> tuple[int, ...]:
        return (chance.randrange(256),) * 3 if grey else tuple(chance.randrange(256) for _ in range(3))

    image = Image.new("RGB", (wide, wide), colour())
    pencil = ImageDraw.Draw(image)
    for _ in range(chance.randint(1, 5)):
        x = [chance.randrange(wide) for _ in range(4)]
        y = [chance.randrange(wide) for _ in range(4)]
        box = (min(x[:2]), min(y[:2]), max(x[:2]) + 2, max(y[:2]) + 2)
        shape, width = chance.randrange(4), chance.randint(2, size // 4)
        if shape == 0:
            pencil.line(list(zip(x, y, strict=True)), colour(), width, joint="curve")
        elif shape == 1:
            pencil.ellipse(box, outline=colour(), width=width)
        elif shape == 2:
            pencil.rectangle(box, fill=colour())
        else:
            pencil.polygon(list(zip(x[:3], y[:3], strict=True)), fill=colour())
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def derive(pictures: int = PICTURES, seed: int = SEED) -> NDArray[np.float64]:
    """(2, 1280): mean and standard deviation of each unstandardised feature, over ``pictures`` at each of ``SIZES``."""
    source = BACKBONES["efficientnet-lite0"].source
    weights = read_pinned(locate(source), source)
    session = open_session(efficientnet_lite0.build(weights), threads=2)
    mean, deviation = efficientnet_lite0.feature_statistics(weights)
    chance = random.Random(seed)  # noqa: S311 - drawings protect nothing
    rows = []
    for size in SIZES:
        for _ in range(pictures):
            features = session.run(["features"], {"pictures": draw(chance, size)[None]})[0]
            rows.append(features[0] * deviation + mean)
    return np.stack([np.mean(rows, axis=0), np.std(rows, axis=0)])


def main() -> None:
    """Writes the file named on the command line, all or nothing."""
    target = Path(sys.argv[1])
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".npy", delete=False) as file:
        np.save(file, derive().astype("<f2"))
    Path(file.name).replace(target)
    target.chmod(0o644)


if __name__ == "__main__":
    main()
