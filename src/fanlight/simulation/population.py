"""Who has what: the devices' own examples, and those that models are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.simulation.data import Data
from fanlight.simulation.partitions import partition
from fanlight.simulation.seeds import chance, stream
from fanlight.simulation.study import Study

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Some examples: (n, …) and (n,)."""

    x: Floats
    y: Labels


@dataclass(frozen=True)
class Population:
    """All examples, those of a device side by side, so that a part of them is a view and no copy.

    Attributes:
        everything: examples of the devices, device by device, training before validation.
        bounds: (devices, 3): where a device's training and validation begin, and where they end.
        test: held-out examples of nobody.
        classes: names.
        owned: (devices, K) examples of each class, for plots.
    """

    everything: Part
    bounds: NDArray[np.int64]
    test: Part
    classes: tuple[str, ...]
    owned: NDArray[np.int64]

    @property
    def devices(self) -> int:
        """How many there are."""
        return len(self.bounds)

    def train(self, device: int) -> Part:
        """What a device trains on."""
        return self._part(*self.bounds[device, :2])

    def valid(self, device: int) -> Part:
        """What it chooses among its epochs by; may be empty."""
        return self._part(*self.bounds[device, 1:])

    @property
    def learns(self) -> NDArray[np.bool_]:
        """(devices,) has it anything to train on?"""
        found: NDArray[np.bool_] = self.bounds[:, 1] > self.bounds[:, 0]
        return found

    @property
    def most_pictures(self) -> int:
        """What the device with most examples trains on."""
        return int((self.bounds[:, 1] - self.bounds[:, 0]).max())

    def pooled(self) -> tuple[Part, Part]:
        """Training and validation of all devices in one place."""
        inside = np.zeros(len(self.everything.y), np.bool_)
        for first, middle, _ in self.bounds:
            inside[first:middle] = True
        return (
            Part(self.everything.x[inside], self.everything.y[inside]),
            Part(self.everything.x[~inside], self.everything.y[~inside]),
        )

    def _part(self, first: int, last: int) -> Part:
        return Part(self.everything.x[first:last], self.everything.y[first:last])


def divide(study: Study, data: Data) -> Population:
    """Hold examples back, and deal out the others.

    Raises:
        DataError: too few examples. SettingsError: no such partition.
    """
    order = stream(study.seed, "test").permutation(len(data.y))
    held_back = max(1, len(data.y) * study.test_percent // 100)
    test, rest = np.sort(order[:held_back]), np.sort(order[held_back:])
    if rest.size < study.devices:
        raise DataError(f"{rest.size} examples are too few for {study.devices} devices", next="Ask for fewer devices.")
    given = partition(study.partition, data.y[rest], study.devices, chance(study.seed, "partition"))
    return _together(study, data, [rest[indices] for indices in given], test)


def _together(study: Study, data: Data, given: Sequence[NDArray[np.int64]], test: NDArray[np.int64]) -> Population:
    order, bounds, start = [], [], 0
    for device, indices in enumerate(given):
        shuffled = indices[stream(study.seed, "valid", device).permutation(indices.size)]
        validate = min(indices.size * study.valid_percent // 100, max(indices.size - 1, 0))
        order.append(shuffled)
        bounds.append((start, start + indices.size - validate, start + indices.size))
        start += indices.size
    rows = np.concatenate(order)
    labels, classes = data.y[rows], len(data.classes)
    owned = [np.bincount(labels[first:last], minlength=classes) for first, _, last in bounds]
    return Population(
        everything=Part(data.x[rows], labels),
        bounds=np.array(bounds, np.int64),
        test=Part(data.x[test], data.y[test]),
        classes=data.classes,
        owned=np.array(owned, np.int64),
    )
