"""What is published where a class is held back, so that its row does not follow from the others'.

A class that too few devices have pictures of is held back: with one such device its row in a sum *is* what that device
sent. But the row is also what the others lack. Softmax probabilities add up to 1, so the rows of its gradient, of an
update, and of a mean of updates add up to zero; those of a ridge regression add up to what does not depend on which
class is whose. Who sees all rows but one adds them up, and has that one.

So rows are published less their mean. Then they say only how they differ, and the row that is held back could be any.
No choice among these classes changes: a vector that is added to all their rows adds the same to all their scores. To a
class that is held back they stand as they stood on average, or as their differences say: anything else would tell of
its row. Of a single class that is left nothing remains, since its row is the other's with the opposite sign.

Not taken away is what pictures of such a class teach the other rows about how they differ (docs/threat-model.md).

*Rows* are numbers (..., K), the last axis by class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class HeldBack:
    """The classes that are held back.

    Attributes:
        classes: (K,).
        hides: must the others tell nothing of them? Not where one device is enough: then nobody has any.
    """

    classes: NDArray[np.bool_]
    hides: bool = True

    @classmethod
    def of(cls, supporters: NDArray[np.int64], least: int) -> Self:
        """Those that fewer than ``least`` devices have pictures of, by how many (K,) have."""
        return cls(supporters < np.int64(least), hides=least > 1)

    def __bool__(self) -> bool:
        """Are there any?"""
        return bool(self.classes.any())

    def published(self, rows: NDArray[Any]) -> Doubles:
        """What of rows may be published: rows of other classes less their mean, zero for those held back.

        Whole numbers below 2⁴⁰ are rounded once, in the end: rows that differ alike give the same bits.
        """
        if not self:
            return rows.astype(np.float64, copy=False)
        others = rows[..., ~self.classes].astype(np.float64)
        if self.hides:
            count, total = max(others.shape[-1], 1), others.sum(axis=-1, keepdims=True)
            others = (count * others - total) / count
        published = np.zeros(rows.shape)
        published[..., ~self.classes] = others
        return published


NONE = HeldBack(np.zeros(1, np.bool_))
"""Of numbers that belong to no class."""
