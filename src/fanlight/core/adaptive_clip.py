"""The clipping bound of the next round, from how many updates were within this round's.

Andrew et al., "Differentially Private Learning with Adaptive Clipping" (arXiv 1905.03871), section 2: with b the
fraction of updates whose norm was at most C, take C' = C·exp(-eta·(b - quantile)). C follows the quantile of the norms
at a geometric pace, without anybody's norm being known: only the count of those within travels, under the masks.
"""

from __future__ import annotations

import math
from typing import Final

from fanlight.errors import SettingsError

FIRST_CLIP: Final = 10.0
LEARNING_RATE: Final = 0.2
QUANTILE: Final = 0.9
SMALLEST_CLIP: Final = 1e-3
LARGEST_CLIP: Final = 1e4


def next_clip(
    clip: float, fraction_within: float, *, learning_rate: float = LEARNING_RATE, quantile: float = QUANTILE
) -> float:
    """The next bound on the L2 norm of an update.

    Args:
        clip: this round's bound, > 0.
        fraction_within: fraction of the cohort's updates within it, in [0, 1].
        learning_rate: eta, >= 0: how far the logarithm of the bound moves for a difference of 1.
        quantile: the fraction to aim for, in [0, 1].

    Returns:
        A bound in [1e-3, 1e4]: neither may a few quiet rounds freeze learning nor a few wild ones void the clipping.

    Raises:
        SettingsError: an argument is out of range.
    """
    if not (math.isfinite(clip) and clip > 0 and math.isfinite(learning_rate) and learning_rate >= 0):
        raise SettingsError(f"clipping bound {clip} or learning rate {learning_rate} is out of range")
    if not (0 <= fraction_within <= 1 and 0 <= quantile <= 1):
        raise SettingsError(f"fractions lie in [0, 1], not {fraction_within} and {quantile}")
    moved = math.log(clip) - learning_rate * (fraction_within - quantile)
    return math.exp(min(max(moved, math.log(SMALLEST_CLIP)), math.log(LARGEST_CLIP)))
