"""What homes have of a federation in the end: each is measured on the classes that it has itself.

An algorithm that leaves something at home is not seen in the global model: Ditto's is FedAvg's. What it is for is each
home's own model, and what that is worth where it is used; so classes count here as often as they are among a home's
own examples, and not as often as in the test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.evaluation import Counts
from fanlight.simulation.learners import Floats, Published
from fanlight.simulation.workshop import Workshop


def on_its_classes(counts: Counts, owned: NDArray[np.int64]) -> float:
    """A model's accuracy, were the test examples' classes as frequent as a home's.

    Args:
        counts: of the model, on the test examples.
        owned: (K,) the home's own examples; those of classes that were not tested do not count.
    """
    tested = counts.confusion.sum(axis=1)
    weights = np.where(tested > 0, owned, 0)
    recalls = np.diagonal(counts.confusion) / np.maximum(tested, 1)
    return float(weights @ recalls / max(weights.sum(), 1))


def own_models(
    workshop: Workshop, published: Published, remembered: Mapping[int, int], devices: Sequence[int], number: int
) -> dict[int, Floats]:
    """(d,) of each device: the model that its home would use after its part in one more round.

    With an algorithm that leaves nothing at home that is the global model, trained on the home's own examples.

    Args:
        workshop: of the study.
        published: the last global model.
        remembered: the round that each device's memory is of.
        devices: whose.
        number: of that round.
    """
    return {
        device: workshop.part(published, device, number, remembered.get(device)).own.astype(np.float32)
        for device in devices
    }
