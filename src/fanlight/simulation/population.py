"""Who has what: the devices' own examples, and those that models are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import DataError
from fanlight.simulation import who_has_what
from fanlight.simulation.attacks.attack import Trigger
from fanlight.simulation.cheats import NOBODY, Cheats
from fanlight.simulation.data import Data
from fanlight.simulation.feature_skew import PLAIN, FeatureSkew
from fanlight.simulation.looks import AS_IT_IS, Look
from fanlight.simulation.partitions import feature_skews, lists_everything, partition
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
        owned: (devices, K) examples of each class, as they are and not as a cheat calls them, for plots.
        marked: test examples with a backdoor's mark, called what the attackers want; None where there is no backdoor.
        name: of the data, in results.
    """

    everything: Part
    bounds: NDArray[np.int64]
    test: Part
    classes: tuple[str, ...]
    owned: NDArray[np.int64]
    marked: Part | None = None
    name: str = ""

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

    def as_json(self, partition: str) -> dict[str, Any]:
        """The ``data`` of a result; ``partition`` is the line that dealt them out."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "train": len(self.everything.y),
            "test": len(self.test.y),
            "partition": who_has_what.describe(self.owned, self.classes, partition),
        }

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


def divide(study: Study, data: Data, cheats: Cheats = NOBODY) -> Population:
    """Hold examples back, deal out the others, and let each device see its own as it does.

    Where cameras differ, each test example is seen by the camera of some device: so models are measured on what the
    fleet sees.

    Raises:
        DataError: too few examples, or no pictures where cameras or marks change them. SettingsError: a bad partition.
    """
    order = stream(study.seed, "test").permutation(len(data.y))
    held_back = max(1, len(data.y) * study.test_percent // 100)
    test, rest = np.sort(order[:held_back]), np.sort(order[held_back:])
    if rest.size < study.devices:
        raise DataError(f"{rest.size} examples are too few for {study.devices} devices", next="Ask for fewer devices.")
    if lists_everything(study.partition):
        listed = partition(study.partition, data.y, study.devices, chance(study.seed, "partition"))
        given = [np.intersect1d(indices, rest) for indices in listed]
        _check_all_have_some(given)
        return _together(study, data, cheats, given, test)
    columns = {name: [values[index] for index in rest] for name, values in data.columns.items()}
    dealt = partition(study.partition, data.y[rest], study.devices, chance(study.seed, "partition"), columns)
    return _together(study, data, cheats, [rest[indices] for indices in dealt], test)


def _check_all_have_some(given: Sequence[NDArray[np.int64]]) -> None:
    bare = [device for device, indices in enumerate(given) if not indices.size]
    if bare:
        raise DataError(
            f"all that the file gives device {bare[0]} is held back for tests",
            next="List more for it, set a smaller test_percent, or take another seed.",
        )


def _together(
    study: Study, data: Data, cheats: Cheats, given: Sequence[NDArray[np.int64]], test: NDArray[np.int64]
) -> Population:
    order, bounds, start = [], [], 0
    for device, indices in enumerate(given):
        shuffled = indices[stream(study.seed, "valid", device).permutation(indices.size)]
        validate = min(indices.size * study.valid_percent // 100, max(indices.size - 1, 0))
        order.append(shuffled)
        bounds.append((start, start + indices.size - validate, start + indices.size))
        start += indices.size
    rows, classes = np.concatenate(order), len(data.classes)
    owners = np.repeat(np.arange(len(given)), [last - first for first, _, last in bounds])
    labels, marked = cheats.poisoned(owners, data.y[rows], classes)
    cameras = feature_skews(study.partition, study.devices, chance(study.seed, "cameras"))
    sizes = [cheats.attack.trigger.side if each and cheats.attack.trigger else 0.0 for each in marked]
    watchers = np.arange(test.size) % study.devices
    return Population(
        everything=Part(_seen(data, rows, cameras, owners, sizes), labels),
        bounds=np.array(bounds, np.int64),
        test=Part(_seen(data, test, cameras, watchers, [0.0] * test.size), data.y[test]),
        classes=data.classes,
        owned=who_has_what.counts_of(data.y, [rows[first:last] for first, _, last in bounds], classes),
        marked=_marked(data, test, cameras, watchers, cheats.attack.trigger),
        name=data.name,
    )


def _marked(
    data: Data,
    test: NDArray[np.int64],
    cameras: Sequence[FeatureSkew] | None,
    watchers: NDArray[np.int64],
    trigger: Trigger | None,
) -> Part | None:
    if trigger is None:
        return None
    others = data.y[test] != trigger.target
    rows, sizes = test[others], [trigger.side] * int(others.sum())
    return Part(_seen(data, rows, cameras, watchers[others], sizes), np.full(rows.size, trigger.target, np.int64))


def _seen(
    data: Data,
    rows: NDArray[np.int64],
    cameras: Sequence[FeatureSkew] | None,
    owners: NDArray[np.int64],
    marks: Sequence[float],
) -> Floats:
    """x of some rows, each as its owner sees it; only what looks otherwise is worked out anew."""
    x = data.x[rows]
    looks = [
        Look(PLAIN if cameras is None else cameras[owner], mark) for owner, mark in zip(owners, marks, strict=True)
    ]
    changed = [place for place, look in enumerate(looks) if look != AS_IT_IS]
    if changed:
        x[changed] = data.seen([int(rows[place]) for place in changed], [looks[place] for place in changed])
    return x
