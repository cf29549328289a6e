"""Pictures drawn by code, and what the original network says about them.

The numbers in ``backbone_reference.json`` were computed with PyTorch 2.13.0 and efficientnet-lite-pytorch 0.1.0, not
with our own graph; ``tests/torch`` computes them again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = (224, 128, 96)
LOGITS = slice(0, 1000, 50)
FEATURES = slice(0, 1280, 64)
TOLERANCE = 5e-4

_NUMBERS = Path(__file__).with_name("backbone_reference.json")


def draw(size: int) -> NDArray[np.uint8]:
    """(2, size, size, 3): a bright ring on a slanted gradient, and a coloured chequerboard; integers only."""
    y, x = np.mgrid[0:size, 0:size] * 512 // size
    distance = (x - 256) ** 2 + (y - 200) ** 2
    ring = ((distance > 90**2) & (distance < 150**2))[..., None]
    gradient = np.stack([(x + y) // 4, (512 - x) // 2, y // 2], -1)
    board = np.stack([(x // 64 + y // 64) % 2 * 200, (x // 128) % 2 * 255, (y // 32) % 2 * 90], -1)
    pictures: NDArray[np.uint8] = np.stack([np.where(ring, (250, 220, 60), gradient), board]).astype(np.uint8)
    return pictures


def expected() -> dict[str, Any]:
    """Size to ``{"logits": [2][20], "features": [2][20]}``; features are pooled and not yet standardised."""
    numbers: dict[str, Any] = json.loads(_NUMBERS.read_text())
    return numbers
