"""What a simulated device learns in a round: the very code of deployed devices, on its part of the population."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fanlight.core.tensors import TensorLayout
from fanlight.learning import analytic, prototypes
from fanlight.learning.algorithms.local import Descend, Received
from fanlight.learning.evaluation import Counts, evaluate
from fanlight.learning.heads import HeadKind, as_read, head_layout
from fanlight.learning.local_training import SoftmaxDescent, head_of, vector_of
from fanlight.learning.training_settings import TrainingSettings
from fanlight.protocol.statistics import Sums
from fanlight.simulation.population import Part
from fanlight.simulation.seeds import stream

Floats = NDArray[np.float32]


class Learner(Protocol):
    """A kind of model."""

    @property
    def layout(self) -> TensorLayout:
        """Of its parameters."""
        ...

    @property
    def normalisation(self) -> frozenset[str]:
        """Names of the tensors that belong to normalisation."""
        ...

    @property
    def per_class(self) -> int:
        """K, if the last axis of every tensor is that of classes; else 0."""
        ...

    def start(self) -> Floats:
        """(d,) the model before the first round."""
        ...

    def descend(self, train: Part, valid: Part, seed: int, *numbers: int) -> Descend:
        """Local training on some examples; what is drawn follows from ``seed`` and ``numbers``."""
        ...

    def measure(self, parameters: Floats, test: Part) -> Counts:
        """Hits and misses of a model."""
        ...


@dataclass(frozen=True)
class HeadLearner:
    """A head on frozen features.

    Attributes:
        kind: how it reads features.
        features, classes: f, and the names of the K classes.
        settings: of training.
    """

    kind: HeadKind
    features: int
    classes: tuple[str, ...]
    settings: TrainingSettings

    @functools.cached_property
    def layout(self) -> TensorLayout:
        """weight (f, K), bias (K,)."""
        return head_layout(self.features, len(self.classes))

    @property
    def normalisation(self) -> frozenset[str]:
        """None: the backbone's is folded into its convolutions."""
        return frozenset()

    @property
    def per_class(self) -> int:
        """K."""
        return len(self.classes)

    def start(self) -> Floats:
        """The head that knows nothing."""
        return np.zeros(self.layout.size, np.float32)

    def descend(self, train: Part, valid: Part, seed: int, *numbers: int) -> Descend:
        """Softmax training."""
        return SoftmaxDescent(
            self.layout,
            as_read(self.kind, train.x),
            train.y,
            as_read(self.kind, valid.x),
            valid.y,
            self.settings,
            stream(seed, "training", *numbers),
        )

    def measure(self, parameters: Floats, test: Part) -> Counts:
        """Hits and misses of a head."""
        head = head_of(self.layout, parameters.astype(np.float64))
        return evaluate(head.weight, head.bias, as_read(self.kind, test.x), test.y, self.classes)

    def sums(self, train: Part, valid: Part) -> Sums:
        """What a head is solved from, as a device sends it (see ``services.device.solving``)."""
        parts = [analytic.collect(part.x, part.y, len(self.classes)) for part in (train, valid)]
        if self.kind is HeadKind.ANALYTIC:
            return Sums.rounded(*((part.gram, part.sums, part.examples) for part in parts))
        together = parts[0] + parts[1]
        return Sums.rounded((together.gram[:0], together.sums, together.examples))

    def solved(self, train: Part, valid: Part) -> Floats:
        """The head that is solved from these examples alone."""
        if self.kind is HeadKind.ANALYTIC:
            ridge = analytic.fit_pictures(
                (train.x, train.y), (valid.x, valid.y), len(self.classes), balanced=self.settings.class_weights
            )
            head = ridge.head
        else:
            both = [analytic.collect(part.x, part.y, len(self.classes)) for part in (train, valid)]
            head = prototypes.head_of(both[0].sums + both[1].sums, both[0].examples + both[1].examples)
        return vector_of(self.layout, head).astype(np.float32)


@dataclass(frozen=True)
class Published:
    """The global model as devices get it: (d,) float32, and what of the algorithm's memory travels with it."""

    parameters: Floats
    memory: Mapping[str, Floats]

    def received(self, learner: Learner, staleness: int) -> Received:
        """As an algorithm's device part takes it."""
        memory = {name: vector.astype(np.float64) for name, vector in self.memory.items()}
        parameters = self.parameters.astype(np.float64)
        return Received(parameters, learner.layout, memory, staleness, learner.normalisation)
