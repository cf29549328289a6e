"""What a confusion matrix says about a classifier.

Row k of the matrix counts the pictures whose true class is k, column k those that were predicted as k. All ratios
are taken from integer counts, so the figures of a cohort's summed matrix are those of its pooled pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError


@dataclass(frozen=True)
class Metrics:
    """Figures of one model on one set of labelled pictures; ratios are fractions in [0, 1].

    Attributes:
        confusion: K rows of K counts.
        total: number of pictures.
        correct: number on the diagonal.
        accuracy: correct / total; None without pictures.
        balanced_accuracy: mean recall over the classes that occur; None without pictures.
        precision: per class, the share of the pictures predicted as it that are it; None if none was.
        recall: per class, the share of its pictures that were found; None if it does not occur.
        loss: mean loss a picture; None if unknown or without pictures.
    """

    confusion: tuple[tuple[int, ...], ...]
    total: int
    correct: int
    accuracy: float | None
    balanced_accuracy: float | None
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    loss: float | None

    @classmethod
    def from_confusion(cls, confusion: NDArray[np.integer[Any]], loss_sum: float | None = None) -> Metrics:
        """Figures from (K, K) counts and the sum of the losses over all pictures.

        Raises:
            ModelError: not a square matrix of counts >= 0, or a loss that is negative or not finite.
        """
        _check(confusion, loss_sum)
        counts = confusion.astype(np.int64)
        hits = counts.diagonal()
        recall = _ratios(hits, counts.sum(axis=1))
        occurring = [value for value in recall if value is not None]
        total, correct = int(counts.sum()), int(hits.sum())
        return cls(
            confusion=tuple(map(tuple, counts.tolist())),
            total=total,
            correct=correct,
            accuracy=_ratio(correct, total),
            balanced_accuracy=math.fsum(occurring) / len(occurring) if occurring else None,
            precision=_ratios(hits, counts.sum(axis=0)),
            recall=recall,
            loss=loss_sum / total if loss_sum is not None and total else None,
        )

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """The figures under their names, ready for JSON; one entry per class, in the order of ``classes``.

        Raises:
            ModelError: there are not as many names as classes.
        """
        if len(classes) != len(self.confusion):
            raise ModelError(f"{len(classes)} class names for a matrix of {len(self.confusion)} classes")
        per_class = [
            {"class": name, "pictures": sum(row), "precision": precision, "recall": recall}
            for name, row, precision, recall in zip(classes, self.confusion, self.precision, self.recall, strict=True)
        ]
        return {
            "total": self.total,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "per_class": per_class,
            "confusion": [list(row) for row in self.confusion],
        }


def _check(confusion: NDArray[np.integer[Any]], loss_sum: float | None) -> None:
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not confusion.size:
        raise ModelError(f"a confusion matrix is square, not of shape {confusion.shape}")
    if not np.issubdtype(confusion.dtype, np.integer) or confusion.min() < 0:
        raise ModelError("a confusion matrix holds counts: integers that are not negative")
    if loss_sum is not None and not (math.isfinite(loss_sum) and loss_sum >= 0):
        raise ModelError(f"a sum of losses is a number that is not negative, not {loss_sum}")


def _ratios(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> tuple[float | None, ...]:
    return tuple(_ratio(int(part), int(whole)) for part, whole in zip(parts, wholes, strict=True))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
