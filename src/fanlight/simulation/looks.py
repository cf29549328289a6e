"""How a device sees a picture: through its own camera, and with an attacker's mark on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.simulation.attacks.backdoor import stamped
from fanlight.simulation.feature_skew import PLAIN, FeatureSkew


@dataclass(frozen=True)
class Look:
    """What becomes of a picture before anything is learned from it; as text it says all there is to say.

    Attributes:
        camera: see ``feature_skew``.
        mark: side of a backdoor's mark in percent of the picture's, 0 = none.
    """

    camera: FeatureSkew = PLAIN
    mark: float = 0.0

    def applied(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture, (h, w) or (h, w, 3), to the same.

        Raises:
            DataError: see ``FeatureSkew.applied``.
        """
        seen = self.camera.applied(picture)
        return stamped(seen, self.mark) if self.mark else seen

    def of_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for (channels, h, w), one or three, in 0 to 1."""
        levels = np.clip(np.rint(pixels * 255.0), 0, 255).astype(np.uint8)
        seen = self.applied(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
        back = seen[None] if seen.ndim == 2 else seen.transpose(2, 0, 1)
        return back.astype(np.float32) / np.float32(255)


AS_IT_IS: Final = Look()
