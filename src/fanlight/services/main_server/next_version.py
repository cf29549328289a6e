"""The parameters after a round, worked out where the sum of the updates lies.

In federated averaging each parameter moves by itself, so a long model is worked on piece by piece, and each piece of
the sum gives way to the parameters that come of it: float32 takes the room of int32. As a whole, in float64 and with
all that lies between, it would take many times the room of the vector that has come.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.learning.algorithms.algorithm import Gathered
from fanlight.learning.algorithms.fedavg import FEDAVG
from fanlight.learning.heads import SoftmaxHead

_ROWS: Final = 1 << 10


def move(head: SoftmaxHead, steps: NDArray[np.int32], unit: float, held_back: NDArray[np.bool_]) -> SoftmaxHead:
    """A head after a round.

    Args:
        head: (f, K), from which the round started.
        steps: ((f + 1)·K,), the sum of the updates; what is returned lies in its place.
        unit: what one step is of the mean update.
        held_back: (K,), the classes whose parameters stay as they are.

    Raises:
        ModelError: a parameter that would not be a finite float32.
    """
    rows = steps.reshape(-1, head.classes)  # one for each feature, and that of the bias
    after = rows.view(np.float32)
    for start in range(0, head.features, _ROWS):
        some = slice(start, min(start + _ROWS, head.features))
        after[some] = _moved(head.weight[some], np.where(held_back, 0.0, _mean(rows[some], unit)))
    after[-1:] = _moved(head.bias[np.newaxis], np.where(held_back, 0.0, _mean(rows[-1:], unit)))
    return SoftmaxHead(after[:-1], after[-1])


def _mean(steps: NDArray[np.int32], unit: float) -> NDArray[np.float64]:
    return np.multiply(steps, unit, dtype=np.float64)


def _moved(parameters: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    state = FEDAVG.apply(FEDAVG.init(parameters.ravel()), Gathered(mean.ravel()))
    layout = TensorLayout((TensorSpec("rows", parameters.shape),))
    return layout.unflatten(state.parameters)["rows"]
