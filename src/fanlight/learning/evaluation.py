"""Counts on held-out pictures: a confusion matrix and a sum of losses, which add up over devices.

Accuracy, balanced accuracy, precision and recall follow from the counts (``core.metrics``), after they were summed.

The loss of one picture (cross-entropy in nats) has no upper end: one confident mistake could outweigh a thousand
pictures, and the masked segment in which the sum travels needs a bound that holds for every device. It is therefore
capped at ``LOSS_CAP``: about where float32 probabilities lose their meaning (exp(-16) is 1e-7), far above the loss of a
guess (ln K, 6.9 for a thousand classes), so that only hopeless mistakes are capped. A sum over n pictures lies within
0 to 16 n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.heads import checked_examples, checked_head, log_softmax

LOSS_CAP = 16.0
"""Largest loss that one picture contributes, in nats."""


@dataclass(frozen=True)
class Counts:
    """What an evaluation found.

    Attributes:
        confusion: (K, K) int64; row = true class, column = predicted class; sums to the number of pictures.
        loss_sum: sum of capped losses in nats, 0 to ``LOSS_CAP`` times the number of pictures.
    """

    confusion: NDArray[np.int64]
    loss_sum: float

    @property
    def total(self) -> int:
        """Number of pictures."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """Number of pictures whose class was found."""
        return int(np.trace(self.confusion))


def evaluate(
    weight: NDArray[Any], bias: NDArray[Any], x: NDArray[Any], y: NDArray[Any], classes: Sequence[str]
) -> Counts:
    """Count a softmax head's hits and misses.

    Args:
        weight: (f, K) float32.
        bias: (K,) float32.
        x: (n, f) float32 features of held-out pictures; n may be 0.
        y: (n,) labels, 0 to K-1.
        classes: the task's K class names.

    Raises:
        ModelError: the head does not fit the classes or holds numbers that are not finite.
        DataError: features or labels do not fit the head.
    """
    head = checked_head(weight, bias)
    if head.classes != len(classes):
        raise ModelError(f"a head of {head.classes} classes cannot be measured on a task of {len(classes)}")
    features, labels = checked_examples("held-out pictures", x, y, head)
    confusion = np.zeros((head.classes, head.classes), np.int64)
    if labels.size == 0:
        return Counts(confusion, 0.0)
    logarithms = log_softmax(head.logits(features))
    np.add.at(confusion, (labels, logarithms.argmax(axis=1)), 1)
    losses = np.minimum(-logarithms[np.arange(labels.size), labels].astype(np.float64), LOSS_CAP)
    return Counts(confusion, float(losses.sum()))
