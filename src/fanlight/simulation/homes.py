"""What homes have of a federation in the end: each is measured on the classes that it has itself.

An algorithm that gives homes models of their own is not seen in the global one: Ditto's is FedAvg's. What it is for is
each home's own model, and what that is worth where it is used; so classes count here as often as they are among a
home's own examples, and not as often as in the test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fanlight.learning.evaluation import Counts
from fanlight.simulation.learners import Floats
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


def answering(
    workshop: Workshop, parameters: Floats, remembered: Mapping[int, int], devices: Sequence[int]
) -> dict[int, Floats] | None:
    """(d,) of each device: the model that answers at home, as on a deployed device (``services.device.own_model``).

    That is what the algorithm has the device remember of the last round that it was in, and the global one before that.

    Args:
        workshop: of the study.
        parameters: (d,) of the last global model.
        remembered: the round that each device's memory is of.
        devices: whose.

    Returns:
        None if the algorithm gives homes no models of their own: the global one answers everywhere.
    """
    name = workshop.algorithm.own
    if not name:
        return None
    memories = {device: workshop.memories.read(device, remembered.get(device)) for device in devices}
    return {
        device: memory[name].astype(np.float32) if name in memory else parameters for device, memory in memories.items()
    }
