"""Simulated devices that train a whole module of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.local import Descend
from fanlight.learning.evaluation import Counts
from fanlight.learning.module_training import ModuleDescent, Network, measure, network
from fanlight.learning.training_settings import TrainingSettings
from fanlight.simulation.learners import Floats
from fanlight.simulation.population import Part
from fanlight.simulation.seeds import stream


@dataclass(frozen=True)
class ModuleLearner:
    """A module.

    Attributes:
        factory: what makes it, see ``module_training.network``.
        seed: of the study.
        classes: K.
        settings: of training.
    """

    factory: str
    seed: int
    classes: int
    settings: TrainingSettings

    @property
    def layout(self) -> TensorLayout:
        """Of its parameters and buffers."""
        return self._network.layout

    @property
    def normalisation(self) -> frozenset[str]:
        """Of batch normalisation, by the type of the layers."""
        return self._network.normalisation

    @property
    def per_class(self) -> int:
        """Nothing in a module is known to belong to a class."""
        return 0

    def start(self) -> Floats:
        """As the factory makes it."""
        return network(self.factory, self.seed).first

    def descend(self, train: Part, valid: Part, seed: int, *numbers: int) -> Descend:
        """Training of all parameters."""
        drawn = stream(seed, "training", *numbers)
        return ModuleDescent(self._network, train.x, train.y, valid.x, valid.y, self.classes, self.settings, drawn)

    def measure(self, parameters: Floats, test: Part) -> Counts:
        """Hits and misses."""
        return measure(self._network, parameters, test.x, test.y, self.classes)

    @property
    def _network(self) -> Network:
        return network(self.factory, self.seed)
