"""How much a picture looks like those that a home has: a score, and the file of what computes it.

With φ a picture's features at length 1 and a constant c behind them, the score is the upper end of what a Gaussian
process says of its likeliest class, less how little it can know about a picture in that place (Rasmussen and Williams
2006, sections 2.2 and 6.2; see ``unknown`` for how it is fitted):

    s(φ) = maxₖ wₖᵀφ - v(φ),        v(φ) = φᵀφ - ‖Sᵀφ‖²,        φᵀφ = 1 + c²

Its mean is a ridge regression of the home's pictures; v is what of φ lies outside of all that they span. The mean alone
is high where classes differ along directions that a stranger happens to share; v sees that it has others beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fanlight.errors import ModelError
from fanlight.learning.analytic import CONSTANT
from fanlight.learning.heads import Floats, Labels, unit

SQUARED_LENGTH: Final = 1 + CONSTANT**2
"""φᵀφ of each picture."""
_PARTS: Final = ("floors", "labels", "spread", "weight")


@dataclass(frozen=True)
class Familiar:
    """What tells how much a picture looks like a home's.

    Attributes:
        labels: (K,) int64, which classes the home has pictures of: their places among those of its head, rising.
        weight: (f + 1, K) float32, w.
        spread: (f + 1, r) float32, S.
        floors: (K,) float32; what scores less looks less like that class than its own pictures do.

    Raises:
        ModelError: shapes do not fit, or a number is not finite.
    """

    labels: Labels
    weight: Floats
    spread: Floats
    floors: Floats

    def __post_init__(self) -> None:
        number = self.labels.size
        fits = self.labels.shape == self.floors.shape == (number,) and self.weight.ndim == self.spread.ndim == 2
        if not fits or number < 1 or self.weight.shape[1] != number or len(self.spread) != len(self.weight):
            raise ModelError("what tells a home's strangers is of shapes that do not fit")
        if not all(np.isfinite(part).all() for part in (self.weight, self.spread, self.floors)):
            raise ModelError("what tells a home's strangers holds numbers that are not finite")

    @property
    def features(self) -> int:
        """f."""
        return len(self.weight) - 1

    def scores(self, x: NDArray[Any]) -> Floats:
        """(n, f) features of the backbone to (n,) scores."""
        phi = with_constant(x).astype(np.float32)
        doubt = SQUARED_LENGTH - ((phi @ self.spread) ** 2).sum(axis=1)
        found: Floats = ((phi @ self.weight).max(axis=1) - doubt).astype(np.float32)
        return found

    def floor(self, label: int) -> float | None:
        """Of a class, by its place among those of the head; None if the home has no pictures of it."""
        (at,) = np.nonzero(self.labels == label)
        return float(self.floors[at[0]]) if at.size else None


def with_constant(x: NDArray[Any]) -> NDArray[np.float64]:
    """(n, f) features to (n, f + 1): φ."""
    return np.hstack([unit(x).astype(np.float64), np.full((len(x), 1), CONSTANT)])


def encode(familiar: Familiar) -> bytes:
    """The file; the same gives the same bytes."""
    return save({part: np.ascontiguousarray(getattr(familiar, part)) for part in _PARTS})


def decode(data: bytes) -> Familiar:
    """Read a file.

    Raises:
        ModelError: it is none.
    """
    try:
        found = load(data)
    except SafetensorError as error:
        raise ModelError("what tells a home's strangers is damaged") from error
    if set(found) != set(_PARTS) or [found[part].dtype.str for part in _PARTS] != ["<f4", "<i8", "<f4", "<f4"]:
        raise ModelError("what tells a home's strangers is of another form", next="Start the device: it is made anew.")
    return Familiar(found["labels"], found["weight"], found["spread"], found["floors"])
