"""Heads: linear maps from features to classes, and how they read features.

A task names the kind of its head. ``softmax`` (multinomial logistic regression) reads features as they come.
``analytic`` and ``prototypes`` are solved from sums of features of length 1, in which a picture of strong contrast
counts no more than a pale one, and read them brought to the length √f: a number is then of the size that softmax
training expects, which may go on from such a head.

Vocabulary: *n* pictures, *f* features, *K* classes; ``weight`` is (f, K), ``bias`` (K,), both float32; ``x`` is (n, f),
``y`` (n,) with labels 0 to K-1, the positions in the task's list of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import DataError, ModelError

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class HeadKind(StrEnum):
    """How a head is learned, and so how it reads features."""

    SOFTMAX = "softmax"
    ANALYTIC = "analytic"
    PROTOTYPES = "prototypes"

    @property
    def is_solved(self) -> bool:
        """Is it solved from sums, which travel in one round, at least at first?"""
        return self is not HeadKind.SOFTMAX


@dataclass(frozen=True)
class SoftmaxHead:
    """weight (f, K) and bias (K,), float32."""

    weight: Floats
    bias: Floats

    @property
    def features(self) -> int:
        """Number of features, f."""
        return int(self.weight.shape[0])

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return int(self.weight.shape[1])

    def logits(self, x: Floats) -> Floats:
        """(n, f) features to (n, K) logits."""
        scores: Floats = x @ self.weight + self.bias
        return scores


def unit(x: Floats) -> Floats:
    """(n, f) features, each row brought to length 1; a row of zeros stays one."""
    lengths = np.sqrt(np.einsum("nf,nf->n", x, x, dtype=np.float64))
    scaled: Floats = x * (1 / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)[:, None]
    return scaled


def as_read(kind: HeadKind, x: Floats) -> Floats:
    """(n, f) features as a head of this kind reads them: as they come, or each row brought to length √f."""
    return unit(x) * np.float32(np.sqrt(x.shape[1])) if kind.is_solved else x


def zero_head(features: int, classes: int) -> SoftmaxHead:
    """The head that knows nothing: every class equally likely."""
    return SoftmaxHead(np.zeros((features, classes), np.float32), np.zeros(classes, np.float32))


def head_layout(features: int, classes: int) -> TensorLayout:
    """How a head lies in an update vector: ``head.weight`` (features, K) row by row, then ``head.bias`` (K,)."""
    return TensorLayout((TensorSpec("head.weight", (features, classes)), TensorSpec("head.bias", (classes,))))


def checked_head(weight: NDArray[Any], bias: NDArray[Any], *, own: bool = True) -> SoftmaxHead:
    """A head from two arrays, as float32 of its own; unless it need not ``own`` them, where they are that already.

    Raises:
        ModelError: shapes do not fit, fewer than two classes, or a number is not finite.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[1:] or weight.shape[0] < 1 or weight.shape[1] < 2:
        raise ModelError(f"a head of shapes {weight.shape} and {bias.shape} is not (features, classes) and (classes,)")
    copy = True if own else None
    head = SoftmaxHead(np.array(weight, np.float32, order="C", copy=copy), np.array(bias, np.float32, copy=copy))
    if not (_is_finite(head.weight) and _is_finite(head.bias)):
        raise ModelError("the head holds numbers that are not finite", next="Start from an earlier model version.")
    return head


def _is_finite(x: Floats) -> bool:
    """Are all numbers finite? The least and the greatest tell, without a truth value for each of them in memory."""
    return bool(np.isfinite(x.min()) and np.isfinite(x.max()))


def checked_examples(what: str, x: NDArray[Any], y: NDArray[Any], head: SoftmaxHead) -> tuple[Floats, Labels]:
    """Features and labels that fit the head: (n, f) finite float32 and (n,) int64 within 0 to K-1; n may be 0.

    Raises:
        DataError: a shape, type, value or label that does not fit; the message says which of the splits (``what``).
    """
    if x.ndim != 2 or x.shape[1] != head.features or y.shape != (x.shape[0],):
        raise DataError(
            f"{what}: features {x.shape} and labels {y.shape} do not fit a head of {head.features} features"
        )
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"{what}: labels are {y.dtype}, not integers")
    if not np.isfinite(x).all():
        raise DataError(f"{what}: a feature is not a finite number", next="Clear the feature cache and try again.")
    if y.size and (int(y.min()) < 0 or int(y.max()) >= head.classes):
        raise DataError(f"{what}: a label lies outside 0 to {head.classes - 1}")
    return np.ascontiguousarray(x, np.float32), y.astype(np.int64)


def log_softmax(logits: Floats) -> Floats:
    """Row-wise log of the softmax of (n, K) logits; the largest logit is taken off first, so that nothing overflows."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def softmax(logits: Floats) -> Floats:
    """Row-wise probabilities, (n, K), each row sums to 1."""
    result: Floats = np.exp(log_softmax(logits))
    return result
