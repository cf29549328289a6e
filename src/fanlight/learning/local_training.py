"""Softmax training on a device's pictures as what federated algorithms call ``descend``.

They see a model as one vector; here it becomes a head and back. Vectors are float64, heads float32: a difference of two
heads is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.local import Descended, Descent
from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.model_file import HeadModel
from fanlight.learning.training import Correction, EpochProgress, ignore_progress, train
from fanlight.learning.training_settings import TrainingSettings

_WEIGHT, _BIAS = "head.weight", "head.bias"


@dataclass(frozen=True)
class SoftmaxDescent:
    """Local training on one device's pictures.

    Attributes:
        layout: of the head, see ``heads.head_layout``.
        train_x, train_y, valid_x, valid_y, settings, stream, on_epoch, variants: see ``training.train``.
    """

    layout: TensorLayout
    train_x: NDArray[Any]
    train_y: NDArray[Any]
    valid_x: NDArray[Any]
    valid_y: NDArray[Any]
    settings: TrainingSettings
    stream: Keystream
    on_epoch: Callable[[EpochProgress], None] = ignore_progress
    variants: Sequence[NDArray[Any]] = ()

    def __call__(self, descent: Descent) -> Descended:
        """Train; errors as in ``training.train``."""
        correction = Correction(
            shift=None if descent.shift is None else head_of(self.layout, descent.shift),
            pull=descent.pull,
            anchor=None if descent.anchor is None else head_of(self.layout, descent.anchor),
            frozen=descent.frozen,
            watch=descent.watch,
            to_the_end=descent.to_the_end,
        )
        result = train(
            head_of(self.layout, descent.start),
            self.train_x,
            self.train_y,
            self.valid_x,
            self.valid_y,
            self.settings,
            self.stream,
            self.on_epoch,
            correction=correction,
            variants=self.variants,
        )
        gradient = result.mean_gradient
        return Descended(
            parameters=vector_of(self.layout, SoftmaxHead(result.weight, result.bias)),
            steps=result.steps,
            momentum=self.settings.momentum,
            mean_gradient=None if gradient is None else vector_of(self.layout, gradient),
        )


def head_of(layout: TensorLayout, vector: NDArray[np.float64]) -> SoftmaxHead:
    """The head that a (d,) vector stands for.

    Raises:
        ModelError: another length, or not finite in float32.
    """
    tensors = layout.unflatten(vector)
    return SoftmaxHead(tensors[_WEIGHT], tensors[_BIAS])


def vector_of(layout: TensorLayout, head: SoftmaxHead | HeadModel) -> NDArray[np.float64]:
    """A head as a (d,) vector; errors as in ``TensorLayout.flatten``."""
    return layout.flatten({_WEIGHT: head.weight, _BIAS: head.bias})
