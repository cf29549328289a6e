"""What somebody who has one device's update of the head can tell of its pictures: two attacks, and real pictures.

The head is softmax regression on features x (``learning/training.py``), so an update is a sum of outer products:
ΔW[:, c] = −Σ (p_c − [y = c])·x with positive factors. A column therefore points towards the pictures of its class and
away from all others (Zhu et al. 2019; Zhao et al. 2020, iDLG; Wainakh et al. 2022).

- *Classes*: the attacker has pictures of its own, makes the updates that each set of classes would give, and takes the
  set whose updates are most like the victim's.
- *Pictures*: column of a class minus the mean column of classes that the device does not have; of one picture a class,
  what is left points along its features. The attacker compares it with a gallery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.datasets import shapes
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.heads import SoftmaxHead, head_layout, zero_head
from fanlight.learning.training import train
from fanlight.learning.training_settings import TrainingSettings
from tests.protocol_world import secret

Reals = NDArray[np.float64]
K = len(shapes.CLASSES)
SETS = [tuple(compress(range(K), chosen)) for chosen in product((False, True), repeat=K) if any(chosen)]
"""Every set of classes that a device can have: 15."""
SIDE = 96
EACH = 40
TEMPLATES = 8
"""Updates that the attacker makes for each set of classes."""


@dataclass(frozen=True)
class Pictures:
    """Features (n, f) float32 and labels (n,) of drawn pictures, through the real backbone."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    @classmethod
    def drawn(cls, folder: Path, name: str) -> Pictures:
        """``EACH`` pictures of each class; another ``name``, other pictures."""
        chance = Chance(name, 0)
        pixels = np.stack([shapes.draw(label, chance) for label in shapes.CLASSES for _ in range(EACH)])
        extractor = FeatureExtractor(compile_backbone("efficientnet-lite0", folder), SIDE)
        x = np.concatenate([extractor.run(pixels[start : start + 8]) for start in range(0, len(pixels), 8)])
        return cls(x, np.repeat(np.arange(K), EACH))

    def some(self, classes: Sequence[int], count: int, draws: np.random.Generator) -> NDArray[np.intp]:
        """Which pictures a device has: ``count`` of each of these classes, without repetition."""
        of_each = (np.flatnonzero(self.y == label) for label in classes)
        return np.concatenate([draws.choice(there, count, replace=False) for there in of_each])

    def update(self, start: SoftmaxHead, which: NDArray[np.intp], name: str) -> Reals:
        """The update (d,) that a device with these pictures has learned, as it goes into its contribution."""
        none = self.x[:0]
        result = train(
            start, self.x[which], self.y[which], none, self.y[:0], TrainingSettings(), Keystream(secret(name))
        )
        layout = head_layout(start.features, start.classes)
        flat = [layout.flatten({"head.weight": one.weight, "head.bias": one.bias}) for one in (result, start)]
        update: Reals = flat[0] - flat[1]
        return update

    def head(self) -> SoftmaxHead:
        """A head that has learned all of these pictures: a global model some rounds on."""
        settings = TrainingSettings(epochs=20)
        start = zero_head(self.x.shape[1], K)
        done = train(start, self.x, self.y, self.x[:0], self.y[:0], settings, Keystream(bytes(32)))
        return SoftmaxHead(done.weight, done.bias)


def columns_of(update: Reals) -> tuple[Reals, Reals]:
    """ΔW (f, K) and Δb (K,)."""
    parts = head_layout(update.size // K - 1, K).views(update)
    return parts["head.weight"], parts["head.bias"]


@dataclass(frozen=True)
class Attacker:
    """Somebody with pictures of its own and the model that the round starts from."""

    own: Pictures
    start: SoftmaxHead
    each: int

    def classes_in(self, update: Reals) -> tuple[int, ...]:
        """The set of classes that the update looks like."""
        seen = self._looks(update)
        likeness = [max(float(look @ seen) for look in looks) for looks in self._templates]
        return SETS[int(np.argmax(likeness))]

    @cached_property
    def _templates(self) -> list[list[Reals]]:
        draws = np.random.default_rng(1)
        return [
            [
                self._looks(
                    self.own.update(self.start, self.own.some(classes, self.each, draws), f"{classes}-{number}")
                )
                for number in range(TEMPLATES)
            ]
            for classes in SETS
        ]

    @cached_property
    def _means(self) -> Reals:
        return np.stack([self.own.x[self.own.y == label].mean(axis=0, dtype=np.float64) for label in range(K)])

    def _looks(self, update: Reals) -> Reals:
        """A few numbers in which sets of classes differ: columns along the classes' mean pictures, and the biases."""
        weight, bias = columns_of(update)
        looks: Reals = np.concatenate([(self._means @ weight).ravel() / np.sqrt(len(weight)), 10 * bias])
        looks /= np.linalg.norm(looks)
        return looks


def picture_in(update: Reals, label: int, classes: Sequence[int], gallery: Pictures) -> int:
    """The picture of the gallery that the update's column of ``label`` points at, of a device with these classes."""
    weight, _ = columns_of(update)
    others = [other for other in range(K) if other not in classes]
    seen = weight[:, label] - weight[:, others].mean(axis=1)
    likeness = gallery.x @ seen / np.linalg.norm(gallery.x, axis=1)
    return int(np.argmax(likeness))
